//go:build unix && !linux

package disk

import "golang.org/x/sys/unix"

// These locks belong to the process: connections of this process are not seen.
const setLock = unix.F_SETLK
