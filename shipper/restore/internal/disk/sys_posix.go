//go:build unix && !linux

package disk

import "golang.org/x/sys/unix"

// These locks belong to the process: they do not conflict with connections of this
// process.
const setLock = unix.F_SETLK
