package vfs

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/internal/shipping"
)

func init() {
	Register("replicated-silent", Options{Logger: slog.New(slog.DiscardHandler)})
}

// everyPage makes a copy hold all pages.
func everyPage() *roaring.Bitmap { return nil }

// A copied is a database that a test changes between the slices of a copy.
type copied struct {
	*testing.T
	rng   *rand.Rand
	db    *database
	conns []*sqlite3.Conn
}

var steps = []string{
	"INSERT INTO t (x) VALUES (randomblob(300))", "INSERT INTO t (x) VALUES (randomblob(3000))",
	"UPDATE t SET x = randomblob(300) WHERE id = 1 + abs(random()) % 100", "DELETE FROM t WHERE id = 1 + abs(random()) % 200",
	"INSERT INTO t (x) SELECT randomblob(900) FROM t LIMIT 20",
	"UPDATE t SET x = randomblob(200) WHERE id % 7 = abs(random()) % 7",
	"DELETE FROM t WHERE id % 5 = abs(random()) % 5", "PRAGMA incremental_vacuum(20)",
	"DELETE FROM t WHERE id % 2; PRAGMA incremental_vacuum; INSERT INTO t (x) SELECT zeroblob(3000) FROM t LIMIT 40",
	"BEGIN; INSERT INTO t (x) SELECT randomblob(900) FROM t LIMIT 50; ROLLBACK",
	"VACUUM", "PRAGMA wal_checkpoint(passive)", "PRAGMA wal_checkpoint(full)",
	"PRAGMA wal_checkpoint(restart)", "PRAGMA wal_checkpoint(truncate)",
}

func newCopied(t *testing.T, seed uint64, foreign bool) *copied {
	rng := rand.New(rand.NewPCG(seed, 0))
	dir, err := os.MkdirTemp("/dev/shm", "walvfs-") // without it, syncs take long
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path, replica := filepath.Join(dir, "app.db"), url.URL{Scheme: "file", Path: filepath.Join(dir, "replica")}
	c := &copied{T: t, rng: rng}
	open := func(vfs string) {
		conn, err := sqlite3.Open(fmt.Sprintf("file:%s?vfs=%s&interval=1h&_pragma=busy_timeout(5000)&_pragma=page_size(%d)&_pragma=auto_vacuum(%d)&_pragma=journal_mode(wal)&_pragma=synchronous(off)&_pragma=wal_autocheckpoint(%d)&_pragma=cache_size(20)&replica=%s",
			path, vfs, 512<<rng.IntN(8), rng.IntN(3), 1+rng.IntN(60), url.QueryEscape(replica.String())))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		c.conns = append(c.conns, conn)
	}
	open("replicated-silent")
	if err := c.conns[0].Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, x); INSERT INTO t (x) SELECT randomblob(900) FROM generate_series(1, 600)"); err != nil {
		t.Fatal(err)
	}
	open("replicated-silent")
	if foreign {
		open("os")
	}
	if err := flushPath(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	c.db = databases.find(path)
	return c
}

// change commits, checkpoints and shrinks, or does nothing.
func (c *copied) change() {
	c.Helper()
	for range c.rng.IntN(3) {
		step := steps[c.rng.IntN(len(steps))]
		if err := c.conns[c.rng.IntN(len(c.conns))].Exec(step); err != nil && !strings.Contains(err.Error(), "busy") && !strings.Contains(err.Error(), "locked") {
			c.Fatal(step, err)
		}
	}
	if c.rng.IntN(8) == 0 { // a cut in between
		if err := c.db.ship.Drain(c.Context()); err != nil {
			c.Fatal(err)
		}
	}
}

// Whatever happens between the slices of a copy, a cut that uses the copy has the content
// of each page at the cut's boundary.
func TestCopiedPages(t *testing.T) {
	defer SetLargeCut(0)()
	var kept, stale uint64
	for i := range uint64(8) {
		foreign := i%4 == 3
		t.Run(fmt.Sprint(i, " foreign=", foreign), func(t *testing.T) {
			if i%2 == 0 {
				defer SetSliceTime(0)()
			}
			c := newCopied(t, i, foreign)
			for range 12 {
				k, s := c.copyAndCut(t)
				kept, stale = kept+k, stale+s
			}
		})
	}
	t.Logf("%d pages of copies were right, %d stale", kept, stale)
	if kept == 0 || stale == 0 {
		t.Error("the copies were never used, or never stale")
	}
}

func (c *copied) copyAndCut(t *testing.T) (kept, stale uint64) {
	d := c.db
	p, err := d.newPrecopy(everyPage)
	if err != nil || p == nil {
		t.Fatal(p, err)
	}
	for range 1 + c.rng.IntN(3) {
		at, err := d.boundary()
		if err != nil {
			t.Fatal(err)
		}
		pages := p.watch.Stale(d.needed(everyPage, at)).ToArray()
		for len(pages) > 0 && c.rng.IntN(40) > 0 { // a cut may begin before all pages are copied
			n, err := p.slice(pages[:1+c.rng.IntN(len(pages))])
			if err != nil {
				t.Fatal(err)
			}
			pages = pages[n:]
			c.change()
		}
	}
	k, err := d.beginCut(&shipping.Extra{})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Abandon()
	left := p.watch.Stale(k.read).GetCardinality()
	under := k.Snapshot // the same boundary, under the same mark
	copied, was := make([]byte, k.info.PageSize), make([]byte, k.info.PageSize)
	if err := p.finish(k); err != nil {
		t.Fatal(err)
	}
	for it := k.read.Iterator(); it.HasNext(); {
		page := it.Next()
		if err := p.copy.ReadPages(page, copied); err != nil {
			t.Fatal(err)
		}
		if err := under.ReadPages(page, was); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(copied, was) {
			t.Fatalf("page %d of %d differs", page, k.info.Commit)
		}
	}
	k.use(p)
	if k.mark != nil || k.copy == nil {
		t.Error("the copy is not used")
	}
	if err := k.Close(); err != nil {
		t.Error(err)
	}
	return k.read.GetCardinality() - left, left
}

// A checkpoint and a reset of the WAL do not make a page's copy stale.
func TestCheckpointKeepsCopies(t *testing.T) {
	defer SetLargeCut(0)()
	c := newCopied(t, 2, false)
	p, err := c.db.newPrecopy(everyPage)
	if err == nil && p != nil {
		err = p.Copy(t.Context())
	}
	if p == nil || err != nil {
		t.Fatal(p, err)
	}
	defer p.Close()
	const update = "UPDATE t SET x = zeroblob(length(x)) WHERE id = 1"
	if err := c.conns[0].Exec(update + "; PRAGMA wal_checkpoint(restart); " + update + "; PRAGMA wal_checkpoint(truncate); " + update); err != nil {
		t.Fatal(err)
	}
	k, err := c.db.beginCut(&shipping.Extra{})
	if err != nil {
		t.Fatal(err)
	}
	if stale := p.watch.Stale(k.read); stale.IsEmpty() || stale.GetCardinality() > 4 {
		t.Errorf("pages %v are stale, of %d", stale, k.info.Commit)
	}
	if err := k.undo(); err != nil {
		t.Error(err)
	}
}

// A cut of many pages is copied first, and has released its mark once it has begun. Sync
// syncs both files that it was read from: a slice's WAL may have been reset since.
func TestLargeCutIsCopied(t *testing.T) {
	c := newCopied(t, 3, false)
	for _, large := range []bool{true, false} {
		undo := SetLargeCut(1 << 30)
		if large {
			SetLargeCut(64 << 10)
		}
		if err := c.conns[0].Exec("UPDATE t SET x = randomblob(900)"); err != nil {
			t.Fatal(err)
		}
		k, err := c.db.cutCopied(t.Context(), nil)
		undo()
		if err != nil {
			t.Fatal(err)
		}
		if (k.copy != nil) != large || (k.mark == nil) != large {
			t.Errorf("a large cut: %v; it is copied: %v; it has a mark: %v", large, k.copy != nil, k.mark != nil)
		}
		c.db.synced.Store(nil) // by SQLite
		main, log := &syncedFile{File: c.db.main}, &syncedFile{File: c.db.wal}
		k.Main, k.WAL = main, log
		if err := k.Sync()(); err != nil || log.n == 0 || large && main.n == 0 {
			t.Errorf("a large cut: %v; the files were synced %d and %d times: %v", large, main.n, log.n, err)
		}
		k.Abandon()
		if err := k.Close(); err != nil {
			t.Error(err)
		}
		if left := c.db.ledger.Peek().Watches; left > 0 {
			t.Errorf("%d watches are left", left)
		}
	}
}

// A slice does not copy pages that the database lacks at the slice's boundary; they are
// stale if the database has them again.
func TestSliceBeyondTheEnd(t *testing.T) {
	defer SetLargeCut(0)()
	c := newCopied(t, 5, false)
	p, err := c.db.newPrecopy(everyPage)
	if p == nil || err != nil {
		t.Fatal(p, err)
	}
	defer p.Close()
	before, err := c.db.boundary()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.conns[0].Exec("DELETE FROM t WHERE id > 50; VACUUM"); err != nil {
		t.Fatal(err)
	}
	after, err := c.db.boundary()
	if err != nil || after.NPage >= before.NPage {
		t.Fatalf("%d pages, and %d after that: %v", before.NPage, after.NPage, err)
	}
	pages := []uint32{after.NPage, after.NPage + 1, before.NPage}
	if n, err := p.slice(pages); n != len(pages) || err != nil {
		t.Errorf("the slice took %d pages: %v", n, err)
	}
	if stale := p.watch.Stale(roaring.BitmapOf(pages...)); !stale.Equals(roaring.BitmapOf(pages[1:]...)) {
		t.Errorf("of pages %v, %v are stale", pages, stale)
	}
}

// After a cut was undone, the next cut has the same pages.
func TestUndoneCut(t *testing.T) {
	c := newCopied(t, 4, false)
	if err := c.conns[0].Exec("UPDATE t SET x = randomblob(900) WHERE id < 10"); err != nil {
		t.Fatal(err)
	}
	var cuts [2]shipping.CutInfo
	for i := range cuts {
		k, err := c.db.beginCut(nil)
		if err != nil || k == nil {
			t.Fatal(k, err)
		}
		cuts[i] = k.Info()
		if err := k.undo(); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := cuts[0], cuts[1]; a.WALOffset != b.WALOffset || a.WALSize != b.WALSize || a.Salt != b.Salt || !a.Pages.Equals(b.Pages) {
		t.Errorf("%+v and %+v", a, b)
	}
}

// A cut reads pages that the copy cannot hold under its mark.
func TestCopyFails(t *testing.T) {
	defer SetLargeCut(0)()
	c := newCopied(t, 1, false)
	d := c.db
	p, err := d.newPrecopy(everyPage)
	if err != nil || p == nil {
		t.Fatal(p, err)
	}
	p.copy.Close() // every further write to it fails
	if err := c.conns[0].Exec("INSERT INTO t (x) VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	k, err := d.cutCopied(t.Context(), &shipping.Extra{Copied: p})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Abandon()
	if k.mark == nil {
		t.Error("the mark is released")
	}
	page := make([]byte, k.info.PageSize)
	for it := k.read.Iterator(); it.HasNext(); {
		if err := k.ReadPages(it.Next(), page); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Close(); err != nil {
		t.Error(err)
	}
	if d.ledger.Peek().Watches > 0 {
		t.Error("a watch is left")
	}
}
