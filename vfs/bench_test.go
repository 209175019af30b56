package vfs

import (
	"context"
	"io"
	"log/slog"
	"net/url"
	"path/filepath"
	"testing"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	_ "github.com/walvfs/walvfs/shipper/storage/file"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// nullFile takes writes and does nothing.
type nullFile struct{ vfs.File }

func (nullFile) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (nullFile) ReadAt([]byte, int64) (int, error)      { return 0, io.EOF }

// BenchmarkCapture is what a commit of three pages costs the application beside
// what SQLite and the disk cost: the frames' writes and the success.
func BenchmarkCapture(b *testing.B) {
	d := &database{capture: newCapture(slog.New(slog.DiscardHandler))}
	d.inWAL.Store(true)
	d.ship = shipper.New(nil, &storagetest.Memory{Before: func(ctx context.Context, _, _ string) error {
		<-ctx.Done()
		return ctx.Err()
	}}, shipper.Options{})
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

// BenchmarkCommit is a single-row commit, plain and replicated to a directory, in
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
				d.capture.replicaNeedsAll(0, "")
				k, err := d.Cut(context.Background())
				if err != nil || k == nil {
					b.Fatal(k, err)
				}
				for it := k.Info().Pages.Iterator(); it.HasNext(); {
					if err := k.ReadPage(it.Next(), page); err != nil {
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
