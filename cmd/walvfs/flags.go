package main

import (
	"strings"

	"github.com/alecthomas/kong"
)

// goFlags accepts flags as written for Go's own flag package, which Litestream uses: long
// flags with one dash, which would otherwise be many short flags, and short flags with an
// equals sign, which would otherwise be part of the value. It changes nothing else.
func goFlags(model *kong.Application, args []string) []string {
	names := map[string]bool{}
	collectFlags(model.Node, names)
	fixed := make([]string, 0, len(args))
	for i, arg := range args {
		if arg == "--" {
			return append(fixed, args[i:]...)
		}
		name, value, hasValue := strings.Cut(strings.TrimPrefix(arg, "-"), "=")
		switch {
		case !strings.HasPrefix(arg, "-") || !names[name]:
			fixed = append(fixed, arg)
		case len(name) > 1:
			fixed = append(fixed, "-"+arg)
		case hasValue:
			fixed = append(fixed, "-"+name, value)
		default:
			fixed = append(fixed, arg)
		}
	}
	return fixed
}

// collectFlags adds the names of all flags of a command and its subcommands.
func collectFlags(node *kong.Node, names map[string]bool) {
	for _, f := range node.Flags {
		names[f.Name] = true
		for _, alias := range f.Aliases {
			names[alias] = true
		}
		if f.Short != 0 {
			names[string(f.Short)] = true
		}
	}
	for _, child := range node.Children {
		collectFlags(child, names)
	}
}
