package wal

import (
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/ncruces/go-sqlite3"
)

// readHook calls a function before the first read.
type readHook struct {
	io.ReaderAt
	before func()
	once   sync.Once
}

func (r *readHook) ReadAt(p []byte, off int64) (int, error) {
	r.once.Do(r.before)
	return r.ReaderAt.ReadAt(p, off)
}

// Pages that a checkpoint has overwritten prove nothing, even if the WAL is reset before
// the index is read.
func TestFingerprintAcrossReset(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	conn, err := sqlite3.Open("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	exec := func(sql string) {
		if err := conn.Exec(sql); err != nil {
			t.Fatal(sql, err)
		}
	}
	exec("PRAGMA journal_mode=wal; CREATE TABLE t (x); INSERT INTO t VALUES (1); PRAGMA wal_checkpoint(full)")
	open := func(suffix string) *os.File {
		f, err := os.Open(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	index := open("-shm")
	at, err := Boundary(index)
	if err != nil || at.MxFrame == 0 {
		t.Fatal(at, err)
	}
	s := &Snapshot{At: at, Main: closedFile{open("")}, WAL: closedFile{open("-wal")}}
	f, err := s.Fingerprint(t.Context(), &readHook{ReaderAt: index, before: func() { exec("PRAGMA wal_checkpoint(truncate)") }})
	if err != nil {
		t.Fatal(err)
	}
	if f.copied != at.MxFrame {
		t.Errorf("%d of %d frames count as copied", f.copied, at.MxFrame)
	}
}
