package wal

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/ncruces/go-sqlite3"
)

// index returns the WAL index of a database with some frames and no checkpoint, and the
// connection that has it open.
func index(t *testing.T) (*os.File, *sqlite3.Conn) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "app.db")
	conn, err := sqlite3.Open("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.Exec("PRAGMA journal_mode=wal; PRAGMA wal_autocheckpoint=0; CREATE TABLE t (x); INSERT INTO t VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	shm, err := os.OpenFile(path+"-shm", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shm.Close() })
	return shm, conn
}

func setMark(t *testing.T, shm *os.File, slot int, frame uint32) {
	t.Helper()
	if _, err := shm.WriteAt(binary.NativeEndian.AppendUint32(nil, frame), int64(shmMarks+4*slot)); err != nil {
		t.Fatal(err)
	}
}

// A checkpoint stops at the mark, and the WAL is not reset.
func TestReadMark(t *testing.T) {
	shm, conn := index(t)
	m := &Mark{shm: shm, repair: func() error { return conn.Exec("PRAGMA schema_version") }}
	if err := m.Begin(); err != nil {
		t.Fatal(err)
	}
	frames, upTo, err := conn.WALCheckpoint("main", sqlite3.CHECKPOINT_PASSIVE)
	if err != nil || upTo > frames {
		t.Errorf("%d of %d frames checkpointed up to the mark, %v", upTo, frames, err)
	}
	if err := conn.Exec("INSERT INTO t VALUES (2)"); err != nil {
		t.Fatal(err)
	}
	after, done, err := conn.WALCheckpoint("main", sqlite3.CHECKPOINT_PASSIVE)
	if err != nil || done != upTo || after <= frames {
		t.Errorf("%d of %d frames checkpointed beyond the mark, or the WAL was reset: %v", done, after, err)
	}
	if err := m.End(); err != nil {
		t.Fatal(err)
	}
	if after, done, err = conn.WALCheckpoint("main", sqlite3.CHECKPOINT_PASSIVE); err != nil || done != after {
		t.Errorf("%d of %d frames checkpointed after the end, %v", done, after, err)
	}
}

// Begin does not take a mark that stops no checkpoint, even if the mark was set after
// Begin chose it.
func TestStaleMark(t *testing.T) {
	shm, conn := index(t)
	m := &Mark{shm: shm, repair: func() error { return conn.Exec("PRAGMA schema_version") }}
	var b [shmMarkEnd]byte
	for _, test := range []struct {
		frame uint32
		want  bool
	}{{0, true}, {1, true}, {64, false}, {math.MaxUint32, false}} {
		setMark(t, shm, 1, test.frame)
		if err := m.read(&b); err != nil {
			t.Fatal(err)
		}
		if got := holds(&b, 1); got != test.want {
			t.Errorf("a mark at frame %d holds: %t", test.frame, got)
		}
	}
	for slot := 1; slot < 5; slot++ {
		setMark(t, shm, slot, math.MaxUint32)
	}
	if err := m.Begin(); err != nil { // makes SQLite set one
		t.Error(err)
	}
	if err := m.End(); err != nil {
		t.Error(err)
	}
}

// SQLite repairs a header that a writer left half written; Begin does not wait for it.
func TestTornIndex(t *testing.T) {
	shm, conn := index(t)
	if _, err := shm.WriteAt([]byte{0xff}, 16); err != nil {
		t.Fatal(err)
	}
	m := &Mark{shm: shm, repair: func() error { return conn.Exec("PRAGMA schema_version") }}
	if err := m.Begin(); err != nil {
		t.Error(err)
	}
	if err := m.End(); err != nil {
		t.Error(err)
	}
}
