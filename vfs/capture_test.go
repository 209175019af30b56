package vfs

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/sidecar"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// walOf returns a WAL with one frame for each page; commits are the sizes in its
// frames.
func walOf(salt format.Salt, pages []uint32, commits ...uint32) []byte {
	header := format.WALHeader{PageSize: 512, Salt: salt}
	b := header.AppendTo(nil)
	for i, page := range pages {
		f := format.Frame{Page: page, Salt: salt}
		if i < len(commits) {
			f.Commit = commits[i]
		}
		b = append(f.AppendTo(b), make([]byte, 512)...)
	}
	return b
}

func clean(epoch format.Salt, scanned uint32) *capture {
	c := newCapture("", slog.New(slog.DiscardHandler))
	c.epoch, c.scanned, c.floor = epoch, scanned, 100
	return c
}

func done() error { return nil }

func requireDirty(t *testing.T, c *capture, want ...uint32) {
	t.Helper()
	if got := c.dirty.ToArray(); c.all() || !slices.Equal(got, want) {
		t.Errorf("dirty pages are %v (all: %v), want %v", got, c.all(), want)
	}
}

var saltA, saltB = format.Salt{1}, format.Salt{2}

// A checkpoint that truncates resets the WAL index before the WAL. What is
// committed in the epoch and not scanned is in the database file then, and
// nothing but the WAL tells what it is.
func TestBoundaryOfResetIndex(t *testing.T) {
	wal := bytes.NewReader(walOf(saltA, []uint32{1, 2, 3, 4}))
	c := clean(saltA, 2)
	if err := c.advance(wal, format.WALIndex{PageSize: 512, Salt: saltB}, &frameIndex{}); err != nil {
		t.Fatal(err)
	}
	requireDirty(t, c, 3, 4)
}

// The same, where the epoch is another's: nothing tells what changed.
func TestBoundaryOfUnseenReset(t *testing.T) {
	for name, wal := range map[string][]byte{
		"other epoch": walOf(saltB, []uint32{1}),
		"truncated":   nil,
	} {
		t.Run(name, func(t *testing.T) {
			c := clean(saltA, 2)
			if err := c.advance(bytes.NewReader(wal), format.WALIndex{PageSize: 512, Salt: saltB}, &frameIndex{}); err != nil {
				t.Fatal(err)
			}
			if !c.all() {
				t.Error("no resync")
			}
		})
	}
}

// A reset folds every frame of the epoch, committed or not, and none of an older
// one's.
func TestFold(t *testing.T) {
	wal := walOf(saltA, []uint32{1, 2, 3, 4, 5}, 0, 50, 0, 9)
	wal = append(wal, walOf(saltB, []uint32{6})[format.WALHeaderSize:]...)
	c := clean(saltA, 1)
	c.reset(bytes.NewReader(wal), saltB, done)
	requireDirty(t, c, 2, 3, 4, 5)
	if c.floor != 9 || c.epoch != saltB || c.scanned != 0 {
		t.Errorf("floor %d, epoch %s, %d frames scanned", c.floor, c.epoch, c.scanned)
	}
}

// A reset whose write failed has not happened.
func TestFailedReset(t *testing.T) {
	wal := bytes.NewReader(walOf(saltA, []uint32{1, 2, 3}))
	c := clean(saltA, 1)
	if err := c.reset(wal, saltB, func() error { return io.ErrShortWrite }); err != io.ErrShortWrite {
		t.Error(err)
	}
	if c.epoch != saltA || c.scanned != 3 {
		t.Errorf("epoch %s, %d frames scanned", c.epoch, c.scanned)
	}
}

// A reset between two batches of a scan makes the rest dirty.
func TestResetDuringScan(t *testing.T) {
	pages := make([]uint32, scanBatch+10)
	for i := range pages {
		pages[i] = uint32(i + 1)
	}
	wal := bytes.NewReader(walOf(saltA, pages))
	to := format.WALIndex{PageSize: 512, Salt: saltA, MxFrame: uint32(len(pages))}
	c, x := clean(saltA, 0), &frameIndex{}
	if done, err := c.adopt(wal, to, x); done || err != nil {
		t.Fatal(done, err)
	}
	if done, err := c.scan(wal, to, x); done || err != nil {
		t.Fatal(done, err)
	}
	c.reset(wal, saltB, done)
	if done, err := c.scan(wal, to, x); !done || err != nil {
		t.Fatal(done, err)
	}
	requireDirty(t, c, pages...)
}

// A cut holds every page between the least size since the last one and its own,
// and neither the lock page nor what is beyond its end.
func TestSet(t *testing.T) {
	lock := format.LockPage(65536)
	for _, test := range []struct {
		name  string
		taken taken
		nPage uint32
		want  []uint32
	}{
		{"dirty", taken{roaring.BitmapOf(2, 9), 10}, 10, []uint32{2, 9}},
		{"grown", taken{roaring.BitmapOf(2), 7}, 10, []uint32{2, 8, 9, 10}},
		{"shrunk", taken{roaring.BitmapOf(1, 9), 10}, 8, []uint32{1}},
		{"shrunk and regrown", taken{roaring.BitmapOf(1), 3}, 5, []uint32{1, 4, 5}},
		{"all", taken{roaring.New(), 0}, 3, []uint32{1, 2, 3}},
		{"lock page", taken{roaring.BitmapOf(lock), lock - 2}, lock + 1, []uint32{lock - 1, lock + 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.taken.set(65536, test.nPage).ToArray(); !slices.Equal(got, test.want) {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

// Pages written past the WAL are dirty.
func TestDirect(t *testing.T) {
	c := clean(saltA, 0)
	c.pageSize = 512
	c.direct(512*4, 1024)
	requireDirty(t, c, 5, 6)
	c.directTruncate(512 * 3)
	if c.floor != 3 {
		t.Errorf("floor %d", c.floor)
	}
}

// While the WAL starts over, what was scanned beyond the last commit of the old
// epoch is going to be overwritten.
func TestProvePrevious(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	conn, err := sqlite3.Open("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Exec("PRAGMA journal_mode=wal; CREATE TABLE t (x); INSERT INTO t VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	wal, err := os.Open(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	defer wal.Close()
	header, last, _, err := format.LastCommit(wal)
	if err != nil || last == 0 {
		t.Fatal(last, err)
	}
	for _, test := range []struct{ scanned, want uint32 }{{0, 0}, {last - 1, last - 1}, {last, last}, {last + 5, last}} {
		at, err := prove(&sidecar.State{Epoch: saltB, Previous: header.Salt, PreviousScanned: test.scanned}, path, look(path))
		if err != nil || at.epoch != header.Salt || at.scanned != test.want || (at.scanned > 0) != (at.checksum != [2]uint32{}) {
			t.Errorf("%d frames scanned: %+v, %v, want %d", test.scanned, at, err, test.want)
		}
	}
}

// Every commit frame is watched anew, also beside a connection whose last one
// never became a commit.
func TestCommitFrameRestartsRechecks(t *testing.T) {
	d := &database{capture: clean(saltA, 0)}
	d.ship = shipper.New(d, &storagetest.Memory{Before: func(ctx context.Context, _, _ string) error {
		<-ctx.Done()
		return ctx.Err()
	}}, shipper.Options{})
	defer d.ship.Close()
	failed, other := &walFile{File: nullFile{}, main: &mainFile{db: d}}, &walFile{File: nullFile{}, main: &mainFile{db: d}}
	commit := format.Frame{Page: 2, Commit: 9}.AppendTo(nil)
	failed.WriteAt(commit, 32)
	for range 3 {
		d.rechecks.Store(11)
		other.WriteAt(commit, 32)
		if d.rechecks.Load() != 0 || d.unsettled.Load() != 2 {
			t.Errorf("%d rechecks, %d unsettled connections", d.rechecks.Load(), d.unsettled.Load())
		}
	}
	other.main.settle()
	failed.main.settle()
	if d.unsettled.Load() != 0 {
		t.Errorf("%d unsettled connections", d.unsettled.Load())
	}
}

// A large cut begins when the WAL has just begun anew, if that is soon.
func TestAwaitAnew(t *testing.T) {
	for _, test := range []struct {
		name  string
		pages uint64
		reset time.Duration // from when on, 0 for none
		want  time.Duration
	}{
		{"small", largeCut/512 - 1, time.Millisecond, 0},
		{"large", largeCut / 512, 3 * time.Millisecond, 3 * time.Millisecond},
		{"no reset", largeCut / 512, 0, anewWithin},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := clean(saltA, 0)
				c.pageSize = 512
				c.dirty.AddRange(1, test.pages+1)
				if test.reset > 0 {
					time.AfterFunc(test.reset, func() { c.reset(bytes.NewReader(walOf(saltA, nil)), saltB, done) })
				}
				start := time.Now()
				c.awaitAnew(t.Context())
				if took := time.Since(start); took != test.want {
					t.Errorf("it waited for %s, not for %s", took, test.want)
				}
				time.Sleep(time.Second)
			})
		})
	}
}

// syncedFile counts its syncs.
type syncedFile struct {
	vfs.File
	n int
}

func (f *syncedFile) Sync(flags vfs.SyncFlag) error {
	f.n++
	return f.File.Sync(flags)
}

// A cut that was read from the WAL alone is made durable there, unless the WAL was
// reset since: then it is in the database file, which a checkpoint with synchronous=off
// does not sync.
func TestSyncAfterReset(t *testing.T) {
	for _, reset := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "app.db")
		conn, err := sqlite3.Open("file:" + path + "?vfs=replicated&interval=1h&replica=file://" + t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		exec := func(sql string) {
			t.Helper()
			if err := conn.Exec(sql); err != nil {
				t.Fatal(err)
			}
		}
		exec("CREATE TABLE t (x)")
		if err := Flush(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		exec("PRAGMA synchronous=off; INSERT INTO t VALUES (1)")
		d := databases.find(path)
		cut, err := d.Cut(t.Context(), false)
		if err != nil || cut == nil {
			t.Fatal(cut, err)
		}
		page := make([]byte, 4096)
		for it := cut.Info().Pages.Iterator(); it.HasNext(); {
			if err := cut.ReadPages(it.Next(), page); err != nil {
				t.Fatal(err)
			}
		}
		if err := cut.Close(); err != nil {
			t.Fatal(err)
		}
		if reset {
			exec("PRAGMA wal_checkpoint(restart); INSERT INTO t VALUES (2)")
		}
		main := &syncedFile{File: d.main}
		d.main = main
		err = cut.Sync()
		d.main = main.File
		if err != nil || (main.n > 0) != reset {
			t.Errorf("with a reset %v: the database file was synced %d times: %v", reset, main.n, err)
		}
		cut.Abandon()
	}
}

// The size at a reset is the database's, whoever made it so: the first commit after it
// that is smaller is known to be.
func TestSizeOfOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	ours, err := sqlite3.Open("file:" + path + "?vfs=replicated&interval=1h&_pragma=busy_timeout(1000)&_pragma=wal_autocheckpoint(0)&replica=file://" + t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	theirs, err := sqlite3.Open("file:" + path + "?_pragma=busy_timeout(1000)")
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	for _, step := range []struct {
		conn *sqlite3.Conn
		sql  string
	}{
		{ours, "CREATE TABLE t (x); INSERT INTO t SELECT randomblob(4000) FROM generate_series(1, 100)"},
		{theirs, "INSERT INTO t SELECT randomblob(4000) FROM generate_series(1, 300)"},
		{theirs, "DELETE FROM t WHERE rowid > 200"},
		{ours, "PRAGMA wal_checkpoint(passive)"},
	} {
		if err := step.conn.Exec(step.sql); err != nil {
			t.Fatal(step.sql, err)
		}
		if err := Flush(t.Context(), path); err != nil {
			t.Fatal(err)
		}
	}
	c := databases.find(path).capture
	if err := ours.Exec("VACUUM"); err != nil { // it resets the WAL, too
		t.Fatal(err)
	}
	if least, size := c.own.least.Load(), c.own.size.Load(); least == 0 || least != size {
		t.Errorf("the size is %d, and the least one is %d", size, least)
	}
}
