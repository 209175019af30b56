package vfs

import (
	"context"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/shipping"
	"github.com/walvfs/walvfs/internal/statefile"
	_ "github.com/walvfs/walvfs/shipper/storage/file"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// nullFile accepts writes and discards them.
type nullFile struct{ vfs.File }

func (nullFile) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (nullFile) ReadAt([]byte, int64) (int, error)      { return 0, io.EOF }

// BenchmarkCapture measures what a commit of three pages costs the application in
// addition to SQLite and the disk: the writes of the frames and CommitPhaseTwo.
func BenchmarkCapture(b *testing.B) {
	d := &database{ledger: newTestLedger(b)}
	d.inWAL.Store(true)
	d.ship = shipping.New(d, &storagetest.Memory{Before: func(ctx context.Context, _, _ string) error {
		<-ctx.Done()
		return ctx.Err()
	}}, shipping.Options{})
	defer d.ship.Close()
	d.ship.Wake() // a round that never ends, as during an interval
	main := &mainFile{File: nullFile{}, db: d}
	wal := &walFile{File: nullFile{}, main: main}
	page := make([]byte, 4096)
	header := format.Frame{Page: 1}.AppendTo(nil)
	commit := format.Frame{Page: 2, Commit: 9}.AppendTo(nil)
	b.ReportAllocs()
	for b.Loop() {
		for n := uint32(1); n <= 3; n++ {
			if n < 3 {
				wal.WriteAt(header, format.FrameOffset(4096, n))
			} else {
				wal.WriteAt(commit, format.FrameOffset(4096, n))
			}
			wal.WriteAt(page, format.FrameOffset(4096, n)+format.FrameHeaderSize)
		}
		main.CommitPhaseTwo()
	}
}

// BenchmarkCommit measures a single-row commit, plain and replicated to a directory, in
// one run.
func BenchmarkCommit(b *testing.B) {
	for _, test := range []struct{ name, params string }{
		{"plain", "vfs=os"},
		{"replicated", "vfs=replicated"},
	} {
		b.Run(test.name, func(b *testing.B) {
			dir := b.TempDir()
			replica := url.URL{Scheme: "file", Path: filepath.Join(dir, "replica")}
			conn, err := sqlite3.Open("file:" + filepath.Join(dir, "app.db") + "?" + test.params +
				"&_pragma=journal_mode(wal)&_pragma=synchronous(normal)&replica=" + url.QueryEscape(replica.String()))
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			if err := conn.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, x)"); err != nil {
				b.Fatal(err)
			}
			stmt, _, err := conn.Prepare("INSERT INTO t(x) VALUES (randomblob(100))")
			if err != nil {
				b.Fatal(err)
			}
			defer stmt.Close()
			b.ReportAllocs()
			for b.Loop() {
				if err := stmt.Exec(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCut reads a database of 64 MiB at a boundary, from the database file
// and from the WAL, without encoding it.
func BenchmarkCut(b *testing.B) {
	const size = 64 << 20
	for _, where := range []string{"database", "WAL"} {
		b.Run(where, func(b *testing.B) {
			dir := b.TempDir()
			path := filepath.Join(dir, "app.db")
			conn, err := sqlite3.Open("file:" + path + "?vfs=replicated&replica=file://" + filepath.Join(dir, "replica"))
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			sql := "PRAGMA wal_autocheckpoint=0; CREATE TABLE t (x); INSERT INTO t SELECT randomblob(4000) FROM generate_series(1, 16384)"
			if where == "database" {
				sql += "; PRAGMA wal_checkpoint(TRUNCATE)"
			}
			if err := conn.Exec(sql); err != nil {
				b.Fatal(err)
			}
			d := databases.find(path)
			if err := d.ship.Drain(context.Background()); err != nil {
				b.Fatal(err)
			}
			page := make([]byte, 4096)
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				d.ledger.NeedAll("")
				k, err := d.Cut(context.Background(), nil)
				if err != nil || k == nil {
					b.Fatal(k, err)
				}
				for it := k.Info().Pages.Iterator(); it.HasNext(); {
					if err := k.ReadPages(it.Next(), page); err != nil {
						b.Fatal(err)
					}
				}
				if err := k.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOutage commits for -benchtime while the store is down, and reports the cost:
// memory, the WAL and the state file at the end, and the number and bytes of the uploads
// that catch up.
func BenchmarkOutage(b *testing.B) {
	dir := b.TempDir()
	path := filepath.Join(dir, "app.db")
	store := filepath.Join(dir, "replica")
	if err := os.WriteFile(store, nil, 0o600); err != nil { // a file at the directory's path
		b.Fatal(err)
	}
	conn, err := sqlite3.Open("file:" + path + "?vfs=replicated&close_timeout=0s&_pragma=synchronous(normal)&replica=file://" + store)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, x); INSERT INTO t(x) SELECT randomblob(100) FROM generate_series(1, 20000)"); err != nil {
		b.Fatal(err)
	}
	stmt, _, err := conn.Prepare("UPDATE t SET x = randomblob(100) WHERE id = 1 + abs(random()) % 20000")
	if err != nil {
		b.Fatal(err)
	}
	defer stmt.Close()
	for b.Loop() {
		if err := stmt.Exec(); err != nil {
			b.Fatal(err)
		}
	}
	var mem runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&mem)
	b.ReportMetric(float64(mem.HeapInuse)/(1<<20), "MiB-heap")
	for suffix, unit := range map[string]string{"": "MiB-database", "-wal": "MiB-wal", statefile.Suffix: "KiB-state"} {
		info, err := os.Stat(path + suffix)
		if err != nil {
			continue // the first intent creates the state file
		}
		size := float64(info.Size()) / (1 << 20)
		if unit == "KiB-state" {
			size *= 1 << 10
		}
		b.ReportMetric(size, unit)
	}
	if err := os.Remove(store); err != nil {
		b.Fatal(err)
	}
	d := databases.find(path)
	if err := d.ship.Drain(context.Background()); err != nil {
		b.Fatal(err)
	}
	st := d.ship.Status()
	b.ReportMetric(float64(st.Uploads), "uploads-after")
	b.ReportMetric(float64(st.Bytes)/(1<<20), "MiB-after")
}
