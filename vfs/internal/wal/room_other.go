//go:build !linux

package wal

import "os"

// roomBeside reports false: the room is unknown on this system.
func roomBeside(*os.File) (bytes int64, ok bool) { return 0, false }
