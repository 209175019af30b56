//go:build !linux

package disk

import "os"

func RenameNew(from, to string) error { return CheckedRename(from, to) }

func IsMount(string) bool { return false }

func StartSync(*os.File) {}
