package vfs

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"

	"github.com/walvfs/walvfs/vfs/internal/uri"
)

// asked reports whether a file's URI names this VFS. Other files pass through it:
// attached files, and targets of VACUUM INTO. It fails if such a file has a parameter of
// replication, or if the VFS cannot honour the URI.
func (v *replicated) asked(params url.Values) (bool, error) {
	switch name := params.Get("vfs"); name {
	case v.name:
		return true, v.check(params)
	case "":
	default:
		return false, fmt.Errorf("the VFS %s wraps %s, which does not replicate the databases of another VFS (write vfs=%s, or have %s wrap another VFS)",
			uri.Shown(name), v.name, v.name, uri.Shown(name))
	}
	for _, p := range parameters {
		if params.Has(p.name) {
			return false, fmt.Errorf("%s needs vfs=%s in the same URI (add it, or remove %s)", p.name, v.name, p.name)
		}
	}
	return false, nil
}

// check reports all parameters that no code reads, and all that hide a database from
// replication.
func (v *replicated) check(params url.Values) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if err := v.checkOne(name, params[name]); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (v *replicated) checkOne(name string, values []string) error {
	remedy := fmt.Sprintf("(remove it, or open the database without vfs=%s)", v.name)
	switch {
	case name == "nolock" && slices.ContainsFunc(values, uri.IsTrue):
		return fmt.Errorf("nolock removes the locks that replication needs %s", remedy)
	case name == "immutable" && slices.ContainsFunc(values, uri.IsTrue):
		return fmt.Errorf("immutable declares that the database never changes, so there is nothing to replicate %s", remedy)
	case slices.ContainsFunc(parameters, func(p parameter) bool { return p.name == name }),
		slices.Contains(uri.SQLite, name),
		slices.Contains(uri.Driver, name),
		slices.Contains(v.opts.Parameters, name):
		return nil
	case slices.Contains(uri.Keys, name):
		return fmt.Errorf("%s asks for encryption, and the replica would be plain text %s", name, remedy)
	}
	return fmt.Errorf("unknown parameter %s (%s)", uri.Shown(name), hint(name))
}

// hint suggests the parameter that an unknown name may stand for.
func hint(name string) string {
	var known []uri.Known
	for _, p := range parameters {
		known = append(known, uri.Known{Name: p.name, Values: p.values})
	}
	return uri.Hint(name, known)
}
