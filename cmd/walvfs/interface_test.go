package main

import (
	"fmt"
	"go/types"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"golang.org/x/tools/go/packages"
)

// TestInterface compares the interface that programs, scripts and URIs rely on with
// testdata/interface.txt: the exported names of the packages and their types, the
// commands with their flags, and the parameters of the VFSs. If a change is intended,
// CHANGELOG.md describes it, and UPDATE_INTERFACE=1 writes the file again.
func TestInterface(t *testing.T) {
	lines := append(packageLines(t), commandLines()...)
	lines = append(lines, parameterLines(t, "../../vfs/api.go")...)
	lines = append(lines, parameterLines(t, "../../vfs/reader/api.go")...)
	const file = "testdata/interface.txt"
	got := strings.Join(lines, "\n") + "\n"
	if os.Getenv("UPDATE_INTERFACE") != "" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		// Package follow gives a restore what no other package can: that one method is no
		// secret.
		if foreign.MatchString(line) && !strings.Contains(line, "method With(hooks shipper/restore/internal/disk.Hooks") {
			t.Errorf("a type that a caller cannot name, or of a library that may be replaced: %s", line)
		}
	}
	was := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	for _, line := range was {
		if !slices.Contains(lines, line) {
			t.Errorf("gone: %s", line)
		}
	}
	for _, line := range lines {
		if !slices.Contains(was, line) {
			t.Errorf("new: %s", line)
		}
	}
	if t.Failed() {
		t.Log("if this is meant: write it into CHANGELOG.md, and run UPDATE_INTERFACE=1 go test ./cmd/walvfs -run TestInterface")
	}
}

// foreign matches what no exported name may have in its type.
var foreign = regexp.MustCompile(`^package .*(superfly/ltx|RoaringBitmap|internal/)`)

// packageLines returns a line for each exported name of the packages that users may
// import.
func packageLines(t *testing.T) (lines []string) {
	t.Helper()
	const module = "github.com/walvfs/walvfs/"
	all, err := packages.Load(&packages.Config{Mode: packages.NeedName | packages.NeedTypes}, module+"...")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		name := strings.TrimPrefix(p.PkgPath, module)
		if len(p.Errors) > 0 {
			t.Fatalf("%s: %v", name, p.Errors)
		}
		if p.Name == "main" || strings.Contains(name, "internal") || strings.HasSuffix(name, "/tests") {
			continue
		}
		qualifier := func(other *types.Package) string {
			if other == p.Types {
				return ""
			}
			return strings.TrimPrefix(other.Path(), module)
		}
		scope := p.Types.Scope()
		for _, n := range scope.Names() {
			if object := scope.Lookup(n); object.Exported() {
				for _, line := range objectLines(object, qualifier) {
					lines = append(lines, "package "+name+": "+line)
				}
			}
		}
	}
	return lines
}

func objectLines(object types.Object, q types.Qualifier) (lines []string) {
	t, isType := object.(*types.TypeName)
	if !isType {
		line := types.ObjectString(object, q)
		if c, ok := object.(*types.Const); ok {
			line += " = " + c.Val().ExactString()
		}
		return []string{line}
	}
	lines = []string{"type " + t.Name()}
	if t.IsAlias() {
		return []string{types.ObjectString(t, q)}
	}
	switch u := t.Type().Underlying().(type) {
	case *types.Struct:
		for f := range u.Fields() {
			if f.Exported() {
				lines = append(lines, fmt.Sprintf("type %s, field %s %s", t.Name(), f.Name(), types.TypeString(f.Type(), q)))
			}
		}
	case *types.Interface:
		for m := range u.Methods() {
			lines = append(lines, fmt.Sprintf("type %s, of interface %s%s", t.Name(), m.Name(), strings.TrimPrefix(types.TypeString(m.Type(), q), "func")))
		}
	default:
		lines[0] += " " + types.TypeString(u, q)
	}
	methods := types.NewMethodSet(types.NewPointer(t.Type()))
	for m := range methods.Methods() {
		if _, isInterface := t.Type().Underlying().(*types.Interface); m.Obj().Exported() && !isInterface {
			lines = append(lines, fmt.Sprintf("type %s, method %s%s", t.Name(), m.Obj().Name(), strings.TrimPrefix(types.TypeString(m.Type(), q), "func")))
		}
	}
	return lines
}

// commandLines returns a line for each command, argument and flag.
func commandLines() (lines []string) {
	var node func(n *kong.Node)
	node = func(n *kong.Node) {
		path := n.FullPath()
		lines = append(lines, "command "+path)
		for _, p := range n.Positional {
			lines = append(lines, "command "+path+", argument "+p.Summary())
		}
		for _, f := range n.Flags {
			if line := "command " + path + ", flag " + f.String(); !f.Hidden {
				if len(f.Enum) > 0 {
					line += ", one of " + f.Enum
				}
				lines = append(lines, line)
			}
		}
		for _, child := range n.Children {
			if !child.Hidden {
				node(child)
			}
		}
	}
	node(newParser(&cli{}, &app{stdout: io.Discard, stderr: io.Discard}).Model.Node)
	return lines
}

// parameterLines returns a line for each parameter that the comment of a package lists.
func parameterLines(t *testing.T, file string) (lines []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^//\t([a-z_]+=\S*)`).FindAllStringSubmatch(string(text), -1) {
		lines = append(lines, "parameter of "+strings.TrimPrefix(file, "../../")+": "+m[1])
	}
	return lines
}
