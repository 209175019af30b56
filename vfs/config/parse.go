package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/walvfs/walvfs/vfs/internal/suggest"
)

// parser turns the nodes of a file into settings. It continues after an error, and
// reports all errors at once.
type parser struct {
	file   string
	lookup func(string) (string, bool) // environment variables
	errs   []error
}

func parse(file string, data []byte, lookup func(string) (string, bool)) (*Config, error) {
	p := &parser{file: filepath.ToSlash(file), lookup: lookup}
	c := &Config{Path: file}
	if root := p.document(data); root != nil {
		p.root(root, c)
	}
	if err := errors.Join(p.errs...); err != nil {
		return nil, err
	}
	return c, nil
}

// document returns the root of the only document, nil if it is empty.
func (p *parser) document(data []byte) *yaml.Node {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	switch err := dec.Decode(&doc); {
	case err == io.EOF || err == nil && len(doc.Content) == 0:
		return nil
	case err != nil:
		p.syntax(err)
		return nil
	}
	switch err := dec.Decode(&more); {
	case err == nil:
		p.fail(more.Line, "a second document begins here: write everything in one")
	case err != io.EOF:
		p.syntax(err)
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil
	}
	return root
}

// syntax reports an error of the YAML library, unless the error repeats content of the
// file.
func (p *parser) syntax(err error) {
	e, ok := errors.AsType[*yaml.LoadError](err)
	switch {
	case !ok:
		p.errs = append(p.errs, fmt.Errorf("%s: not YAML", p.file))
	case e.Stage == yaml.ScannerStage || e.Stage == yaml.ParserStage:
		p.fail(e.Mark.Line, "not YAML: %s", e.Message)
	case strings.Contains(e.Message, "anchor"):
		p.fail(e.Mark.Line, "not YAML: an alias without its anchor (a value that begins with * or & needs quotes)")
	default:
		p.fail(e.Mark.Line, "not YAML")
	}
}

func (p *parser) fail(line int, format string, args ...any) {
	p.errs = append(p.errs, p.at(line, format, args...))
}

func (p *parser) at(line int, format string, args ...any) error {
	return fmt.Errorf("%s:%d: "+format, append([]any{p.file, line}, args...)...)
}

// keys are the keys that a mapping may contain.
type keys map[string]key

// key says how a key is handled.
type key struct {
	read   func(name string, value *yaml.Node) // takes the value
	refuse string                              // why it is an error
	write  string                              // why [DB.CheckWrite] fails
} // without any of them, the key is ignored

// mapping reads the keys of a mapping, each once. It adds the keys that matter to a
// writer of the replica to writing.
func (p *parser) mapping(n *yaml.Node, what string, known keys, writing *[]error) {
	n = follow(n)
	if n.Kind != yaml.MappingNode {
		p.fail(n.Line, "%s: expected keys and values", what)
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		line, name, value := n.Content[i].Line, n.Content[i].Value, follow(n.Content[i+1])
		k, ok := known[name]
		switch first, twice := seen[name]; {
		case !ok:
			p.unknown(line, what, name, known)
		case twice:
			p.fail(line, "%s: it is there already, in line %d", name, first)
		case k.refuse != "" && !empty(value):
			p.fail(line, "%s: %s", name, k.refuse)
		case k.write != "" && !empty(value):
			*writing = append(*writing, p.at(line, "%s: %s", name, k.write))
		case k.read != nil && !empty(value):
			k.read(name, value)
		}
		seen[name] = line
	}
}

// follow returns the node that an alias stands for.
func follow(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

// empty reports whether a key has no value, as in a template, or in a file that switches
// off a disabled feature.
func empty(n *yaml.Node) bool {
	switch n.Kind {
	case yaml.ScalarNode:
		return n.Tag == "!!null" || n.Value == ""
	default:
		return len(n.Content) == 0
	}
}

// plain must match an unknown key for an error to repeat it: after a mistake in a line, a
// secret may be in the place of a key.
var plain = regexp.MustCompile(`^[a-z]{1,20}([-_][a-z0-9]{1,20}){0,5}$`)

func (p *parser) unknown(line int, what, name string, known keys) {
	switch {
	case name == "<<":
		p.fail(line, "<<: merge keys are not read: settings at the top hold for all replicas")
	case !plain.MatchString(name):
		p.fail(line, "%s: unknown key", what)
	default:
		p.fail(line, "%s: unknown key %q%s", what, name, p.hint(name, known))
	}
}

// hint suggests what an unknown key was meant to be, or where it belongs.
func (p *parser) hint(name string, known keys) string {
	if place := placeOf(name); place != "" {
		return ": it belongs " + place
	}
	var taken []string
	for k, v := range known {
		if v.read != nil {
			taken = append(taken, k)
		}
	}
	if near := suggest.Nearest(name, taken); near != "" {
		return fmt.Sprintf(": did you mean %q?", near)
	}
	return ""
}

// text reads a value into s, with environment variables replaced.
func (p *parser) text(s *string) func(string, *yaml.Node) {
	return func(name string, n *yaml.Node) {
		if n.Kind != yaml.ScalarNode {
			p.fail(n.Line, "%s: expected a single value", name)
			return
		}
		v, err := expand(n.Value, p.lookup)
		if err != nil {
			p.fail(n.Line, "%s: %v", name, err)
			return
		}
		*s = v
	}
}

// convert reads a value through a function. It does not report the function's error,
// which would repeat the value.
func convert[T any](p *parser, how func(string) (T, error), expected string, set func(T)) func(string, *yaml.Node) {
	return func(name string, n *yaml.Node) {
		var s string
		before := len(p.errs)
		p.text(&s)(name, n)
		if len(p.errs) > before || s == "" {
			return
		}
		v, err := how(s)
		if err != nil {
			p.fail(n.Line, "%s: expected %s", name, expected)
			return
		}
		set(v)
	}
}

func (p *parser) boolean(set func(bool)) func(string, *yaml.Node) {
	return convert(p, strconv.ParseBool, "true or false", set)
}

func (p *parser) duration(d *time.Duration) func(string, *yaml.Node) {
	return convert(p, time.ParseDuration, "a duration, such as 500ms or 10s", func(v time.Duration) {
		if *d = v; v == 0 {
			*d = -1 // none: zero means that the file does not set it
		}
	})
}

// sequence calls fn for each element.
func (p *parser) sequence(fn func(*yaml.Node)) func(string, *yaml.Node) {
	return func(name string, n *yaml.Node) {
		if n.Kind != yaml.SequenceNode {
			p.fail(n.Line, "%s: expected a list, each element with a dash", name)
			return
		}
		for _, e := range n.Content {
			fn(follow(e))
		}
	}
}
