package vfs

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/vfs/internal/ledger"
	"github.com/walvfs/walvfs/vfs/internal/wal"
)

// resetVFS compares, at each reset, the frames of the WAL with the pages that the capture
// folded.
type resetVFS struct{ vfs.VFS }

func init() {
	vfs.Register("reset", resetVFS{vfs.Find("")})
	Register("replicated-reset", Options{Base: "reset", Logger: slog.New(slog.DiscardHandler)})
}

func (v resetVFS) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	file, flags, err := vfsutil.WrapOpenFilename(v.VFS, name, flags)
	if err != nil || flags&vfs.OPEN_WAL == 0 {
		return file, flags, err
	}
	return &resetWAL{File: file, path: name.Database()}, flags, nil
}

// resets counts the resets of a database in a test.
type resets struct {
	*testing.T
	mu    sync.Mutex
	seen  int // with frames
	reads int // of frame headers, since the previous reset
	all   int // of them
}

var watched sync.Map // path to *resets

type resetWAL struct {
	vfs.File
	path string
}

func (f *resetWAL) ReadAt(p []byte, off int64) (int, error) {
	if r, ok := watched.Load(f.path); ok && len(p) == format.FrameHeaderSize && off > 0 {
		r.(*resets).mu.Lock()
		r.(*resets).reads++
		r.(*resets).mu.Unlock()
	}
	return f.File.ReadAt(p, off)
}

// WriteAt compares before it writes a header: the capture has folded the epoch, and
// holds its lock.
func (f *resetWAL) WriteAt(p []byte, off int64) (int, error) {
	if r, ok := watched.Load(f.path); ok && off == 0 {
		r.(*resets).compare(f, databases.find(f.path).ledger.Peek())
	}
	return f.File.WriteAt(p, off)
}

func (r *resets) compare(log *resetWAL, l ledger.Peek) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reads > 0 {
		r.all++
		r.reads = 0
	}
	salt, pageSize, err := wal.Salt(log.File)
	if err != nil || salt.IsZero() || l.Floor == 0 {
		return
	}
	r.seen++
	var b [format.FrameHeaderSize]byte
	var pages []uint32 // of a transaction
	for n := l.Scanned + 1; ; n++ {
		if _, err := log.File.ReadAt(b[:], format.FrameOffset(pageSize, n)); err == io.EOF {
			return
		} else if err != nil {
			r.Error(err)
			return
		}
		frame := format.ParseFrame(b[:])
		if frame.Salt != salt {
			return
		}
		if pages = append(pages, frame.Page); frame.Commit == 0 {
			continue // uncommitted pages need not be dirty
		}
		for _, page := range pages {
			if !l.Dirty.Contains(page) {
				r.Errorf("page %d is in the transaction that ends with frame %d, and is not dirty", page, n)
			}
		}
		if l.Floor > frame.Commit {
			r.Errorf("frame %d makes the size %d, and the least one is %d", n, frame.Commit, l.Floor)
		}
		pages = pages[:0]
	}
}

// Whatever the application does, a reset makes all pages of the WAL dirty, and records
// the least size. It reads no frame for that, unless another program has written.
func TestFoldIndex(t *testing.T) {
	for _, foreign := range []bool{false, true} {
		t.Run(fmt.Sprintf("foreign=%v", foreign), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			path, replica := filepath.Join(t.TempDir(), "app.db"), url.URL{Scheme: "file", Path: t.TempDir()}
			open := func(vfs string) *sqlite3.Conn {
				conn, err := sqlite3.Open("file:" + path + "?vfs=" + vfs + "&interval=1h&_pragma=page_size(512)&_pragma=auto_vacuum(incremental)&_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)&_pragma=synchronous(normal)&_pragma=wal_autocheckpoint(200)&_pragma=cache_size(20)&replica=" +
					url.QueryEscape(replica.String()))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { conn.Close() })
				return conn
			}
			conns := []*sqlite3.Conn{open("replicated-reset"), open("replicated-reset")}
			if foreign {
				conns = append(conns, open("os"))
			}
			if err := conns[0].Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, x); CREATE INDEX i ON t (x)"); err != nil {
				t.Fatal(err)
			}
			if err := flushPath(t.Context(), path); err != nil {
				t.Fatal(err)
			}
			r := &resets{T: t}
			watched.Store(path, r)
			defer watched.Delete(path)
			steps := []string{
				"INSERT INTO t (x) VALUES (randomblob(300))", "INSERT INTO t (x) VALUES (randomblob(3000))",
				"INSERT INTO t (x) SELECT randomblob(100) FROM t LIMIT 300",
				"UPDATE t SET x = randomblob(200) WHERE id % 7 = abs(random()) % 7",
				"DELETE FROM t WHERE id % 3 = abs(random()) % 3", "PRAGMA incremental_vacuum(20)",
				"BEGIN; INSERT INTO t (x) SELECT randomblob(900) FROM t LIMIT 100; ROLLBACK",
				"SAVEPOINT s; UPDATE t SET x = randomblob(500); ROLLBACK TO s; INSERT INTO t (x) VALUES (1); RELEASE s",
				"VACUUM", "PRAGMA wal_checkpoint(restart)", "PRAGMA wal_checkpoint(passive)", "BEGIN IMMEDIATE; COMMIT",
			}
			flushes := 0
			for i := range 300 {
				// Another program has reset the WAL, and all pages are dirty; or the size
				// at the last cut must exceed the least size.
				if foreign && i%20 == 0 || i%100 == 0 {
					flushes++
					if err := flushPath(t.Context(), path); err != nil {
						t.Fatal(err)
					}
					if err := conns[0].Exec("DELETE FROM t WHERE id % 2; PRAGMA incremental_vacuum; INSERT INTO t (x) SELECT randomblob(600) FROM t LIMIT 100"); err != nil {
						t.Fatal(err)
					}
				}
				step := steps[rng.IntN(len(steps))]
				if rng.IntN(3) > 0 {
					step = steps[0]
				}
				if err := conns[rng.IntN(len(conns))].Exec(step); err != nil && !strings.Contains(err.Error(), "busy") {
					t.Fatal(step, err)
				}
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.seen < 20 {
				t.Errorf("only %d resets", r.seen)
			}
			t.Logf("%d resets, %d of them read frames", r.seen, r.all)
			if !foreign && r.all > flushes {
				t.Errorf("that is more than the %d flushes", flushes)
			}
		})
	}
}
