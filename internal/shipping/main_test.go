package shipping_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(storagetest.WithTools(m)) }

func requireEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("%s is left", e.Name())
	}
}
