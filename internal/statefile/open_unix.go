//go:build unix

package statefile

import (
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

const openFlags = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

func linksOf(info fs.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(stat.Nlink)
	}
	return 1
}

// ownerOf returns the name of a file's owner, and whether the owner is another user.
func ownerOf(info fs.FileInfo) (name string, other bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", false
	}
	uid := strconv.Itoa(int(stat.Uid))
	name = "user " + uid
	if u, err := user.LookupId(uid); err == nil {
		name = u.Username
	}
	return name, int(stat.Uid) != os.Geteuid()
}

// makeWritable lets the owner write to a file that this process owns and may read.
func makeWritable(name string) bool {
	f, err := openRegular(name, os.O_RDONLY)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	return err == nil && f.Chmod(info.Mode().Perm()|0o200) == nil
}
