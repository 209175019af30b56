package main

import (
	"embed"
	"fmt"
	"strings"
	"text/template"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"One of bash, zsh, fish."`
}

// Help is shown below the synopsis.
func (*completionCmd) Help() string {
	return `Examples:

	walvfs completion bash > /etc/bash_completion.d/walvfs
	walvfs completion zsh > "${fpath[1]}/_walvfs"
	walvfs completion fish > ~/.config/fish/completions/walvfs.fish`
}

//go:embed completion
var completions embed.FS

func (c *completionCmd) Run(a *app, k *kong.Kong) error {
	t, err := template.New("").Delims("<<", ">>").Funcs(template.FuncMap{
		"flags":      visibleFlags,
		"takesValue": takesValue,
		"takesFile":  takesFile,
		"quote":      func(s string) string { return "'" + strings.ReplaceAll(s, "'", `\'`) + "'" },
		"zsh":        zshText,
	}).ParseFS(completions, "completion/*")
	if err != nil {
		return err
	}
	return t.ExecuteTemplate(a.stdout, c.Shell+".tmpl", k.Model.Node)
}

// visibleFlags returns the flags of a command and the global flags, without hidden flags.
func visibleFlags(n *kong.Node) []*kong.Flag {
	var flags []*kong.Flag
	for _, group := range n.AllFlags(true) {
		flags = append(flags, group...)
	}
	return flags
}

func takesValue(v *kong.Value) bool { return !v.IsBool() }

// takesFile reports whether a flag's or an argument's value may be a path.
func takesFile(v *kong.Value) bool {
	switch v.Name {
	case "output", "config", "live", "dir", "file", "replica", "in":
		return true
	}
	return false
}

// zshText quotes a description for _arguments within single quotes.
func zshText(s string) string {
	return strings.NewReplacer(`\`, `\\`, `[`, `\[`, `]`, `\]`, `:`, `\:`, `'`, `'\''`).Replace(s)
}

type manCmd struct{}

// Help is shown below the synopsis.
func (*manCmd) Help() string {
	return `Examples:

	walvfs man > /usr/local/share/man/man1/walvfs.1
	walvfs man | man -l -`
}

func (*manCmd) Run(a *app, k *kong.Kong) error {
	m := &manual{}
	m.write(k.Model)
	_, err := fmt.Fprint(a.stdout, m.b.String())
	return err
}
