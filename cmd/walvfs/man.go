package main

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// manual is the manual page, in the man macros of troff.
// See https://man7.org/linux/man-pages/man7/groff_man.7.html.
type manual struct{ b strings.Builder }

func (m *manual) write(app *kong.Application) {
	m.macro("TH", app.Name, "1", "", "walvfs "+version(), "User Commands")
	m.macro("SH", "NAME")
	m.text(app.Name + ` \- SQLite databases in object storage`)
	m.macro("SH", "SYNOPSIS")
	for _, c := range app.Children {
		if !c.Hidden {
			m.macro("B", app.Name+" "+c.Summary())
			m.macro("br")
		}
	}
	m.macro("SH", "DESCRIPTION")
	m.paragraphs(app.Help)
	m.macro("SH", "COMMANDS")
	for _, c := range app.Children {
		if !c.Hidden {
			m.command(c)
		}
	}
	m.macro("SH", "NOTES")
	m.paragraphs(app.Detail)
	m.macro("SH", "FILES")
	m.macro("TP")
	m.macro("I", "/etc/walvfs.yml")
	m.text("where the replicas of databases are, and credentials")
	m.macro("SH", "ENVIRONMENT")
	m.macro("TP")
	m.macro("B", "WALVFS_CONFIG")
	m.text("another configuration file")
}

func (m *manual) command(c *kong.Node) {
	m.macro("SS", c.Name)
	m.macro("B", "walvfs "+c.Summary())
	m.paragraphs(c.Help)
	m.paragraphs(c.Detail)
	for _, p := range c.Positional {
		m.macro("TP")
		m.macro("I", p.Name)
		m.text(escape(p.Help))
	}
	for _, f := range visibleFlags(c) {
		m.macro("TP")
		m.macro("B", flagName(f))
		m.text(escape(f.Help))
	}
}

// flagName returns a flag as users write it.
func flagName(f *kong.Flag) string {
	name := "--" + f.Name
	if takesValue(f.Value) {
		name += "=" + f.FormatPlaceHolder()
	}
	if f.Short != 0 {
		name = fmt.Sprintf("-%c, %s", f.Short, name)
	}
	return name
}

// paragraphs writes text in the form of the help: an empty line separates paragraphs, and
// lines that begin with a tab are kept.
func (m *manual) paragraphs(help string) {
	for p := range strings.SplitSeq(strings.TrimSpace(help), "\n\n") {
		if p == "" {
			continue
		}
		m.macro("PP")
		if !strings.HasPrefix(p, "\t") {
			m.text(escape(p))
			continue
		}
		m.macro("EX")
		for line := range strings.SplitSeq(p, "\n") {
			m.text("    " + escape(strings.TrimPrefix(line, "\t")))
		}
		m.macro("EE")
	}
}

// macro writes a request, each argument in quotes.
func (m *manual) macro(name string, args ...string) {
	m.b.WriteString("." + name)
	for _, a := range args {
		m.b.WriteString(` "` + strings.ReplaceAll(escape(a), `"`, `\(dq`) + `"`)
	}
	m.b.WriteByte('\n')
}

func (m *manual) text(line string) { m.b.WriteString(line + "\n") }

// escape keeps troff from reading text as requests.
func escape(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
