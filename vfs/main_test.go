package vfs_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs"
)

// precopyAll is an environment variable that makes every test copy the pages of every cut
// first.
const precopyAll = "WALVFS_TEST_PRECOPY_ALL"

func TestMain(m *testing.M) {
	if os.Getenv(precopyAll) != "" {
		vfs.SetLargeCut(0)
	}
	goleak.VerifyTestMain(storagetest.InMemory(m))
}
