package vfs

import (
	"encoding/binary"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/vfs/internal/wal"
)

// A cut does not sync a WAL again that SQLite has synced, unless another program has
// committed since, or instead.
func TestSyncedBySQLite(t *testing.T) {
	path, conn, _ := openInternal(t, "replicated")
	plain, err := sqlite3.Open("file:" + path + "?_pragma=synchronous(normal)")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	ours := func(sql string) error { return conn.Exec(sql) }
	theirs := func(sql string) error { return plain.Exec(sql) }
	d := databases.find(path)
	for _, test := range []struct {
		name  string
		exec  func(sql string) error
		sql   string
		syncs int
	}{
		{"normal", ours, "PRAGMA synchronous=normal; INSERT INTO t VALUES (1)", 1},
		{"full", ours, "PRAGMA synchronous=full; INSERT INTO t VALUES (1)", 0},
		{"normal after full", ours, "PRAGMA synchronous=normal; INSERT INTO t VALUES (1)", 1},
		{"full after normal", ours, "PRAGMA synchronous=full; INSERT INTO t VALUES (1)", 0},
		{"another process", theirs, "INSERT INTO t VALUES (2)", 1},
		{"after it", ours, "INSERT INTO t VALUES (1)", 0},
	} {
		if err := test.exec(test.sql); err != nil {
			t.Fatal(err)
		}
		cut, err := d.beginCut(nil)
		if err != nil || cut == nil {
			t.Fatal(cut, err)
		}
		log := &syncedFile{File: d.wal}
		cut.WAL = log
		if err := errors.Join(cut.Sync()(), cut.Close()); err != nil || log.n != test.syncs {
			t.Errorf("%s: the WAL was synced %d times: %v", test.name, log.n, err)
		}
		cut.Abandon()
	}
	at, err := wal.Boundary(d.shm)
	if err != nil || !d.synced.Load().isAt(at) {
		t.Fatal(at, err)
	}
	at.FrameChecksum[0]++
	if d.synced.Load().isAt(at) {
		t.Error("other frames in the place of those that were synced pass for them")
	}
}

// fullDisk makes writes of commit frames fail.
type fullDisk struct {
	vfs.VFS
	full atomic.Bool
}

func (v *fullDisk) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	file, flags, err := vfsutil.WrapOpenFilename(v.VFS, name, flags)
	if err != nil || flags&vfs.OPEN_WAL == 0 {
		return file, flags, err
	}
	return &fullWAL{file, v}, flags, nil
}

type fullWAL struct {
	vfs.File
	disk *fullDisk
}

func (f *fullWAL) WriteAt(p []byte, off int64) (int, error) {
	if f.disk.full.Load() && len(p) > format.FrameHeaderSize && binary.BigEndian.Uint32(p[4:]) != 0 {
		return 0, vfs.SystemError(errors.New("no space"), sqlite3.FULL)
	}
	return f.File.WriteAt(p, off)
}

func (f *fullWAL) Unwrap() vfs.File { return f.File }

// A sync does not count for a frame whose write failed before it, although the same frame
// is written after it.
func TestSyncedIsWritten(t *testing.T) {
	disk := &fullDisk{VFS: vfs.Find("")}
	vfs.Register("full-disk", disk)
	Register("replicated-full-disk", Options{Base: "full-disk"})
	path, conn, exec := openInternal(t, "replicated-full-disk")
	exec("PRAGMA synchronous=normal; INSERT INTO t VALUES (0)")
	plain, err := sqlite3.Open("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if err := plain.Exec("BEGIN; SELECT * FROM t"); err != nil { // the WAL does not start over
		t.Fatal(err)
	}
	d := databases.find(path)
	const insert = "INSERT INTO t VALUES (1)"
	disk.full.Store(true)
	if err := conn.Exec(insert); err == nil {
		t.Fatal("the disk is not full")
	}
	disk.full.Store(false)
	exec("PRAGMA wal_checkpoint")
	exec(insert)
	cut, err := d.beginCut(nil)
	if err != nil || cut == nil {
		t.Fatal(cut, err)
	}
	log := &syncedFile{File: d.wal}
	cut.WAL = log
	if err := errors.Join(cut.Sync()(), cut.Close()); err != nil || log.n != 1 {
		t.Errorf("a commit that nobody has synced is synced %d times before its upload: %v", log.n, err)
	}
	cut.Abandon()
}
