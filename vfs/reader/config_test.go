package reader_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"

	_ "github.com/walvfs/walvfs/shipper/storage/file"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
	"github.com/walvfs/walvfs/vfs/reader/internal/readertest"
)

// The reader finds a replica that the URI does not name as the writer does.
func TestLocatedReplica(t *testing.T) {
	store := dbtest.NewReplica(t)
	w := newWriter(t, store, 4096)
	w.commit(3)
	w.close()
	t.Setenv("WALVFS_REPLICA", "memory://"+store.Name)
	host := store.Name
	store.Name = host + "/app.db"
	conn := dbtest.Open(t, "file:"+w.path+"?vfs=replica&interval=0s")
	if got := dbtest.Query(t, conn, "PRAGMA walvfs_status"); !strings.Contains(got, host+"/app.db") {
		t.Error(got)
	}
	readertest.RequireRestored(t, conn, store, 0)

	t.Setenv("WALVFS_REPLICA", "app")
	if _, err := sqlite3.Open("file:" + w.path + "?vfs=replica"); err == nil || !strings.Contains(err.Error(), "WALVFS_REPLICA is not a URL") {
		t.Errorf("a wrong base: %v", err)
	}

	// The reader ignores settings that concern only the writer.
	file := filepath.Join(t.TempDir(), "walvfs.yml")
	text := fmt.Sprintf("exec: my-app\ndbs:\n- path: %s\n  replica: {url: '%s'}\n", w.path, store)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("WALVFS_REPLICA", "")
	t.Setenv("WALVFS_CONFIG", file)
	readertest.RequireRestored(t, dbtest.Open(t, "file:"+w.path+"?vfs=replica&txid=2"), store, 2)
	if _, err := sqlite3.Open("file:" + w.path + ".other?vfs=replica"); err == nil || !strings.Contains(err.Error(), "no replica for this database") {
		t.Errorf("another database: %v", err)
	}
	if _, err := sqlite3.Open("file:" + w.path + "?vfs=replica&replica=memory://none"); err == nil || !strings.Contains(err.Error(), "memory store none") {
		t.Errorf("the URI says otherwise: %v", err)
	}
}
