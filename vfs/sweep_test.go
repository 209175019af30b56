package vfs_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/util/vfsutil"
	sqlitevfs "github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs"
)

// sweepVFS makes replication's operations on files fail, one at a time, and none of the
// application's.
type sweepVFS struct {
	sqlitevfs.VFS

	mu     sync.Mutex
	sweeps map[string]*sweep // by the path of the main database
}

var sweeping = &sweepVFS{VFS: sqlitevfs.Find(""), sweeps: map[string]*sweep{}}

func init() {
	sqlitevfs.Register("sweep", sweeping)
	vfs.Register("replicated-sweep", vfs.Options{Base: "sweep", Logger: slog.New(slog.DiscardHandler)})
}

// A sweep counts operations and makes one of them fail.
type sweep struct {
	mu   sync.Mutex
	at   int    // the operation that fails, from 1
	most int    // the number of failures, 0 for one
	n    int    // operations so far
	what string // the failed operations
	fail func(what string) error
	next func() // called with the operation after it, if not nil

	opening atomic.Bool // the application opens the database, and may recover it
}

func (s *sweep) op(what string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	switch {
	case s.n >= s.at && s.n < s.at+max(1, s.most):
		s.what += what + "; "
		return s.fail(what)
	case s.n == s.at+1 && s.next != nil:
		s.next()
	}
	return nil
}

func (v *sweepVFS) set(path string, s *sweep) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sweeps[path] = s
}

// pathOf returns the path of a sweep's database.
func (v *sweepVFS) pathOf(s *sweep) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	for path, other := range v.sweeps {
		if other == s {
			return path
		}
	}
	return ""
}

func (v *sweepVFS) OpenFilename(name *sqlitevfs.Filename, flags sqlitevfs.OpenFlag) (sqlitevfs.File, sqlitevfs.OpenFlag, error) {
	if name == nil || flags&(sqlitevfs.OPEN_MAIN_DB|sqlitevfs.OPEN_WAL) == 0 {
		return vfsutil.WrapOpenFilename(v.VFS, name, flags)
	}
	v.mu.Lock()
	s := v.sweeps[name.Database()]
	v.mu.Unlock()
	kind := "database"
	if flags&sqlitevfs.OPEN_WAL != 0 {
		kind = "WAL"
	}
	internal := strings.HasSuffix(name.URIParameter("vfs"), ".internal")
	if internal {
		if err := s.op("open " + kind); err != nil {
			return nil, flags, sqlitevfs.SystemError(err, sqlite3.CANTOPEN)
		}
	}
	file, flags, err := vfsutil.WrapOpenFilename(v.VFS, name, flags)
	if err != nil {
		return file, flags, err
	}
	return &sweepFile{fastFile{file}, s, kind, internal}, flags, nil
}

type sweepFile struct {
	fastFile
	sweep    *sweep
	kind     string
	internal bool
}

// ours reports whether a read is replication's. Once a WAL is recovered, and without
// transactions that spill, SQLite does not read a header of the WAL or of a frame alone:
// capture does, through the application's file.
func (f *sweepFile) ours(n int) bool {
	return f.internal || f.kind == "WAL" && (n == 32 || n == 24) && !f.sweep.opening.Load()
}

func (f *sweepFile) ReadAt(p []byte, off int64) (int, error) {
	if f.ours(len(p)) {
		if err := f.sweep.op(fmt.Sprintf("read %s %d+%d", f.kind, off, len(p))); err != nil {
			return 0, sqlitevfs.SystemError(err, sqlite3.IOERR_READ)
		}
	}
	return f.File.ReadAt(p, off)
}

func (f *sweepFile) WriteAt(p []byte, off int64) (int, error) {
	if f.internal {
		if err := f.sweep.op(fmt.Sprintf("write %s %d+%d", f.kind, off, len(p))); err != nil {
			return 0, sqlitevfs.SystemError(err, sqlite3.IOERR_WRITE)
		}
	}
	return f.File.WriteAt(p, off)
}

func (f *sweepFile) Truncate(size int64) error {
	if f.internal {
		if err := f.sweep.op("truncate " + f.kind); err != nil {
			return sqlitevfs.SystemError(err, sqlite3.IOERR_TRUNCATE)
		}
	}
	return f.File.Truncate(size)
}

func (f *sweepFile) Sync(sqlitevfs.SyncFlag) error {
	if f.internal {
		if err := f.sweep.op("sync " + f.kind); err != nil {
			return sqlitevfs.SystemError(err, sqlite3.IOERR_FSYNC)
		}
	}
	return nil
}

func (f *sweepFile) Size() (int64, error) {
	if f.internal {
		if err := f.sweep.op("size " + f.kind); err != nil {
			return 0, sqlitevfs.SystemError(err, sqlite3.IOERR_FSTAT)
		}
	}
	return f.File.Size()
}

func (f *sweepFile) Lock(lock sqlitevfs.LockLevel) error {
	if f.internal {
		if err := f.sweep.op("lock " + f.kind); err != nil {
			return sqlitevfs.SystemError(err, sqlite3.IOERR_LOCK)
		}
	}
	return f.File.Lock(lock)
}

// sweepOnce runs a short life of an existing database, with every way in which a WAL
// starts over.
func sweepOnce(t *testing.T, template []byte, s *sweep, store *storagetest.Memory, label string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "app.db")
	if err := os.WriteFile(path, template, 0o600); err != nil {
		t.Fatal(err)
	}
	sweeping.set(path, s)
	defer sweeping.set(path, nil)
	var commits []digest
	u := strings.Replace(uri(path, store, "close_timeout=20ms", "_pragma=busy_timeout(1000)", "_pragma=synchronous(normal)"), "vfs=replicated&", "vfs=replicated-sweep&", 1)
	conn := sweepOpen(t, u, s, label)
	do := func(sql string) {
		t.Helper()
		if err := conn.Exec(sql); err != nil {
			t.Errorf("%s: %s: %v", label, sql, err)
		}
		commits = append(commits, liveDigest(t, path))
	}
	do("SELECT count(*) FROM t") // a commit without changes: the first state is the existing database
	do("INSERT INTO t VALUES (randomblob(3000))")
	do("UPDATE t SET x = randomblob(600) WHERE rowid < 5")
	hurried(t, path, label)
	checkpoint(t, conn, sqlite3.CHECKPOINT_FULL)
	do("INSERT INTO t VALUES ('resets by a header')")
	hurried(t, path, label)
	do("UPDATE t SET x = 'not cut before it is truncated' WHERE rowid = 20")
	checkpoint(t, conn, sqlite3.CHECKPOINT_TRUNCATE)
	do("INSERT INTO t VALUES ('after a truncation')")
	if err := conn.Close(); err != nil {
		t.Errorf("%s: close: %v", label, err)
	}
	conn = sweepOpen(t, u, s, label)
	do("DELETE FROM t WHERE rowid BETWEEN 10 AND 30")
	hurried(t, path, label)
	do("INSERT INTO t VALUES ('at last')")
	hurried(t, path, label)
	conn.Close()

	store.Before, store.After = nil, nil
	replica := &replayed{}
	replica.RequireTip(t, store, path, label)
	replica.RequireCommits(t, commits, label)
}

func sweepOpen(t *testing.T, uri string, s *sweep, label string) *sqlite3.Conn {
	t.Helper()
	s.opening.Store(true)
	defer s.opening.Store(false)
	conn, err := sqlite3.Open(uri)
	if err == nil {
		err = conn.Exec("SELECT count(*) FROM t")
	}
	if err != nil {
		t.Fatalf("%s: open: %v (%s)", label, err, s.what)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// sweepTemplate returns a closed database in WAL mode.
func sweepTemplate(t *testing.T) []byte {
	path := filepath.Join(t.TempDir(), "template.db")
	conn := open(t, "file:"+path)
	exec(t, conn, "PRAGMA page_size=1024", "PRAGMA journal_mode=wal", "CREATE TABLE t (x)",
		"INSERT INTO t SELECT randomblob(200) FROM generate_series(1, 40)")
	conn.Close()
	return save(t, path)[""]
}

// TestSweepFiles holds invariants 2 and 5: the n-th operation of replication on the local
// files fails, or several from the n-th on, for every n until a run has no n-th
// operation. The application gets no error, and the replica converges.
func TestSweepFiles(t *testing.T) {
	template := sweepTemplate(t)
	for _, most := range []int{1, 5} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			for n := 1; !t.Failed(); n++ {
				s := &sweep{at: n, most: most, fail: func(string) error { return errInjected }}
				sweepOnce(t, template, s, newReplica(t), fmt.Sprintf("operation %d", n))
				if t.Failed() {
					t.Logf("operation %d was: %s", n, s.what)
				}
				if s.what == "" {
					t.Logf("%d operations", s.n)
					break
				}
			}
		})
	}
}

// TestSweepStateFile: writes to the state file fail between the n-th and the next
// operation on the local files.
func TestSweepStateFile(t *testing.T) {
	template := sweepTemplate(t)
	for n := 1; !t.Failed(); n++ {
		var full string
		s := &sweep{at: n}
		store := newReplica(t)
		s.fail = func(string) error {
			full = sweeping.pathOf(s)
			fullDisks.Store(full, true)
			return nil
		}
		s.next = func() { fullDisks.Delete(full) }
		sweepOnce(t, template, s, store, fmt.Sprintf("operation %d", n))
		if t.Failed() {
			t.Logf("operation %d was: %s", n, s.what)
		}
		if s.what == "" {
			t.Logf("%d operations", s.n)
			break
		}
	}
}

// TestSweepStorage: from the n-th operation on the replica, some operations fail: before
// they take effect, or after, so that only their answer is lost.
func TestSweepStorage(t *testing.T) {
	template := sweepTemplate(t)
	for _, test := range []struct {
		when string
		most int // operations that fail
	}{{"before", 1}, {"after", 1}, {"before", 7}, {"after", 7}} {
		t.Run(fmt.Sprintf("%s, %d", test.when, test.most), func(t *testing.T) {
			for n := 1; !t.Failed(); n++ {
				store := newReplica(t)
				s := &sweep{at: n, most: test.most, fail: func(string) error { return errInjected }}
				hook := func(_ context.Context, op, key string) error { return s.op(op + " " + key) }
				if test.when == "before" {
					store.Before = hook
				} else {
					store.After = hook
				}
				sweepOnce(t, template, &sweep{}, store, fmt.Sprintf("operation %d", n))
				if t.Failed() {
					t.Logf("operation %d was: %s", n, s.what)
				}
				if s.what == "" {
					t.Logf("%d operations", s.n)
					break
				}
			}
		})
	}
}
