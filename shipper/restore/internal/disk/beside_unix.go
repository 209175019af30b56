//go:build unix

package disk

import (
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// NoFollow makes an open fail on a symbolic link, and not wait for a pipe's other end.
const NoFollow = unix.O_NOFOLLOW | unix.O_NONBLOCK

// LinksOf returns how many names a file has.
func LinksOf(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Nlink)
	}
	return 1
}
