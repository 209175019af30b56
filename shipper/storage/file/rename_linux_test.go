package file

import (
	"os"
	"syscall"
	"testing"

	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// TestStoreByRename: a file system without hard links passes the whole suite.
func TestStoreByRename(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.Store {
		s := openTest(t)
		s.link = func(o, n string) error { return &os.LinkError{Op: "link", Old: o, New: n, Err: syscall.EPERM} }
		return s
	})
}
