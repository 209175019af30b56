package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

var (
	variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*`)
	braced   = regexp.MustCompile(`^\{([A-Za-z_][A-Za-z0-9_]*)\}`)
)

// expand replaces environment variables in a value. Its errors name a variable only if
// braces prove that the text is one: the text after a $ may be part of a password.
func expand(value string, lookup func(string) (string, bool)) (string, error) {
	var b strings.Builder
	for {
		text, rest, found := strings.Cut(value, "$")
		b.WriteString(text)
		if !found {
			return b.String(), nil
		}
		if strings.HasPrefix(rest, "$") {
			b.WriteByte('$')
			value = rest[1:]
			continue
		}
		if m := braced.FindStringSubmatch(rest); m != nil {
			v, ok := lookup(m[1])
			if !ok {
				return "", fmt.Errorf("the environment variable %s is not set", m[1])
			}
			b.WriteString(v)
			value = rest[len(m[0]):]
			continue
		}
		if strings.HasPrefix(rest, "{") {
			return "", errors.New("after ${ the name of an environment variable and } are expected (write $$ for a dollar sign)")
		}
		name := variable.FindString(rest)
		if name == "" {
			b.WriteByte('$')
			value = rest
			continue
		}
		v, ok := lookup(name)
		if !ok {
			return "", errors.New("the environment variable after $ is not set (write $$ for a dollar sign)")
		}
		b.WriteString(v)
		value = rest[len(name):]
	}
}
