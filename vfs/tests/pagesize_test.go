package tests

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// changePageSize changes the page size, which is possible only outside WAL mode.
func changePageSize(t *testing.T, path, size string) {
	t.Helper()
	plain := open(t, "file:"+path)
	defer plain.Close()
	exec(t, plain, "PRAGMA journal_mode=delete", "PRAGMA page_size="+size, "VACUUM")
}

// A changed page size begins a new chain of files, with a snapshot, so that Litestream
// can also restore it.
func TestPageSizeChange(t *testing.T) {
	replica := storagetest.File(t)
	store, err := storage.Open(t.Context(), replica.URL, replica.Options)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	path := filepath.Join(t.TempDir(), "app.db")
	for _, size := range []string{"1024", "65536", "4096"} {
		conn := open(t, uri(path, replicaURL(replica.URL)))
		exec(t, conn, "CREATE TABLE IF NOT EXISTS t (x)", manyRows)
		settled(t, path)
		exec(t, conn, "INSERT INTO t VALUES ('"+size+"')")
		settled(t, path)
		conn.Close()
		requireEqual(t, store, path)
		changePageSize(t, path, size)
	}
	l := newLitestream(t, replica)
	for _, txid := range restorable(t, store) {
		l.restoreBoth(t, store, txid)
	}
}

// If a crash prevents the snapshot that a changed page size needs, the next run makes it,
// and after another crash the run after that.
func TestPageSizeChangeInterrupted(t *testing.T) {
	r := newRun(t)
	r.Conn.Close()
	changePageSize(t, r.Path, "1024")
	before := lastTXID(t, r.Store)
	for _, failing := range []string{r.Store.Layout().Dir(format.LevelSnapshot), ""} {
		stopped := make(chan struct{}, 100)
		r.Store.SetBefore(func(_ context.Context, op, key string) error {
			if op == "create" && strings.HasPrefix(key, failing) {
				stopped <- struct{}{}
				return errInjected
			}
			return nil
		})
		r.Open()
		<-stopped
		save(t, r.Path).Crash(t, r.Store, r.Path, r.Conn)
	}
	if got := lastTXID(t, r.Store); got == before {
		t.Fatal("the file before the snapshot is not there")
	}
	r.Open()
	settled(t, r.Path)
	r.Conn.Close()
	requireEqual(t, r.Store, r.Path)
	files, err := replica.All(t.Context(), r.Store)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := format.Plan(files.Infos(), 0)
	if err != nil || plan[0].Level != format.LevelSnapshot || plan[0].MaxTXID <= before {
		t.Errorf("a restore goes through %v, %v", plan, err)
	}
}
