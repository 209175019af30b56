// Package uri helps the VFSes to read the URI of a database: it lists the parameters of
// other readers, and suggests a fix for an unknown parameter.
package uri

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/walvfs/walvfs/vfs/internal/suggest"
)

// Parameters that SQLite, its driver and other VFSs read.
var (
	SQLite = []string{"vfs", "mode", "cache", "psow", "nolock", "immutable", "modeof"}
	Driver = []string{"_pragma", "_txlock", "_timefmt"}
	Keys   = []string{"key", "hexkey", "textkey"} // of encrypting VFSs, and their pragmas

	// storage lists the parameters of storage drivers, which belong to the replica URL.
	storage = []string{"endpoint", "region", "forcePathStyle", "force-path-style", "sse", "sse-kms-key-id", "sse-customer-key-path", "storage-class", "request-payer"}
)

// Known is a parameter of a VFS, with its possible values, nil if it accepts any text.
type Known struct {
	Name   string
	Values []string
}

// Hint suggests what an unknown parameter was meant to be.
func Hint(name string, known []Known) string {
	if slices.Contains(storage, name) {
		return fmt.Sprintf("%s belongs to the replica URL: replica=s3://bucket/app%%3F%s=...", name, name)
	}
	plain := strings.ReplaceAll(strings.ToLower(name), "-", "_")
	var names []string
	for _, p := range known {
		names = append(names, p.Name)
		rest, ok := strings.CutPrefix(plain, p.Name)
		if !ok || rest != "" && rest[0] != '_' {
			continue
		}
		for _, value := range p.Values {
			if rest == "_"+strings.ReplaceAll(value, "-", "_") {
				return fmt.Sprintf("did you mean %s=%s?", p.Name, value)
			}
		}
		return fmt.Sprintf("did you mean %s?", p.Name)
	}
	words := slices.Concat(names, SQLite)
	pragma, drivers := strings.CutPrefix(plain, "_")
	if drivers {
		words = Driver
	}
	if near := suggest.Nearest(plain, words); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	if drivers {
		return fmt.Sprintf("go-sqlite3 has %s: write _pragma=%s(...) for a PRAGMA", strings.Join(Driver, ", "), Shown(pragma))
	}
	slices.Sort(names)
	return "walvfs has " + strings.Join(names, ", ")
}

// One returns the single value of a parameter of a URI.
func One(name string, values []string) (string, error) {
	for _, v := range values {
		if v != values[0] {
			return "", fmt.Errorf("%s is there twice, with different values (keep one of them)", name)
		}
	}
	if values[0] == "" {
		return "", fmt.Errorf("%s has no value (give it one, or remove it)", name)
	}
	return values[0], nil
}

// IsTrue reports whether SQLite takes a value for true. In doubt it returns true.
//
// https://sqlite.org/c3ref/uri_boolean.html
func IsTrue(value string) bool {
	switch strings.ToLower(value) {
	case "on", "yes", "true":
		return true
	}
	return value != "" && '0' <= value[0] && value[0] <= '9' && strings.Trim(value, "0") != ""
}

// Shown shortens and quotes text for an error message.
func Shown(text string) string {
	const most = 60
	short := text
	if len(short) > most {
		short = short[:most] + "..."
	}
	if q := strconv.Quote(short); q != `"`+short+`"` {
		return q
	}
	return short
}
