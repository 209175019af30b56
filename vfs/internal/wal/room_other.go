//go:build !linux

package wal

import "os"

// roomBeside tells nothing here.
func roomBeside(*os.File) (bytes int64, ok bool) { return 0, false }
