//go:build unix

package tests

import "golang.org/x/sys/unix"

// quiet waits until the disk has written what came before a measurement.
func quiet() { unix.Sync() }
