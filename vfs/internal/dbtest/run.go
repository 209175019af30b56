package dbtest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// A Disk holds the content of a database's files at one moment.
type Disk map[string][]byte

var suffixes = []string{"", "-wal", statefile.Suffix}

// Save reads the current content of the files.
func Save(t *testing.T, path string) Disk {
	t.Helper()
	d := Disk{}
	for _, suffix := range suffixes {
		b, err := os.ReadFile(path + suffix)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		d[suffix] = b
	}
	return d
}

// Crash closes the connections while the replica fails, and restores the saved files, as
// if the process had died when they were saved.
func (d Disk) Crash(t *testing.T, store *storagetest.Memory, path string, conns ...*sqlite3.Conn) {
	t.Helper()
	store.SetBefore(func(context.Context, string, string) error { return ErrInjected })
	for _, conn := range conns {
		conn.Close()
	}
	store.SetBefore(nil)
	d.Write(t, path)
}

// Write restores the files.
func (d Disk) Write(t *testing.T, path string) {
	t.Helper()
	for _, suffix := range append(suffixes, "-shm") {
		b, ok := d[suffix]
		if !ok {
			os.Remove(path + suffix)
			continue
		}
		// Write in place: the database keeps its inode.
		f, err := os.OpenFile(path+suffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err == nil {
			_, err = f.Write(b)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A Run is a shipped database of 500 rows on some 70 pages, with the means to continue
// it.
type Run struct {
	T     *testing.T
	Store *storagetest.Memory
	Path  string
	Conn  *sqlite3.Conn
}

// NewRun returns an open run.
func NewRun(t *testing.T) *Run {
	r := &Run{T: t, Store: NewReplica(t), Path: filepath.Join(MemoryDir(t), "app.db")}
	r.Open()
	Exec(t, r.Conn, "CREATE TABLE t (x)", ManyRows)
	Settled(t, r.Path)
	Exec(t, r.Conn, "INSERT INTO t VALUES ('shipped')")
	Settled(t, r.Path)
	return r
}

// Open opens the database; its close does not wait for the replica.
func (r *Run) Open() {
	r.T.Helper()
	r.Conn = Open(r.T, URI(r.Path, r.Store, "close_timeout=1ms"))
}

// RequireShips reopens the database and fails unless the replica becomes equal to it with
// uploads of at most so many pages.
func (r *Run) RequireShips(most uint64) {
	r.T.Helper()
	before := LastTXID(r.T, r.Store)
	r.Open()
	Settled(r.T, r.Path)
	if got := PagesSince(r.T, r.Store, before); got > most {
		r.T.Errorf("%d pages were uploaded, %d would do", got, most)
	}
	r.Conn.Close()
	RequireEqual(r.T, r.Store, r.Path)
	RequireIntact(r.T, r.Store)
}

// MemoryDir returns a directory in memory if the system has one, for tests that commit
// much and only simulate power losses: syncing takes its time.
func MemoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "walvfs-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// WholeDatabase is more pages than a Run has.
const WholeDatabase = 1000
