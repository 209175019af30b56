//go:build !linux

package restore

func renameNew(from, to string) error { return checkedRename(from, to) }
