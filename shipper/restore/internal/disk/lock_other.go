//go:build !unix

package disk

import "os"

// Lock does nothing: where open files cannot be renamed, as on Windows, replacing a
// database in use fails by itself.
func Lock(*os.File, int64, int64) error { return nil }

func Share(*os.File, int64, int64) error { return nil }

// Close closes a file.
func Close(f *os.File) error { return f.Close() }
