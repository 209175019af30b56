//go:build unix

package tests

import "golang.org/x/sys/unix"

// quiet waits until the disk has finished earlier writes before a measurement.
func quiet() { unix.Sync() }
