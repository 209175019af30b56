package ledger

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/vfs/internal/continuity"
	"github.com/walvfs/walvfs/vfs/internal/wal"
)

// While the WAL starts over, the frames scanned after the last commit of the old epoch
// will be overwritten.
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
	log, err := os.Open(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	header, last, _, err := format.LastCommit(log)
	if err != nil || last == 0 {
		t.Fatal(last, err)
	}
	for _, test := range []struct{ scanned, want uint32 }{{0, 0}, {last - 1, last - 1}, {last, last}, {last + 5, last}} {
		i := &Inspection{path: path, Record: continuity.OwnFile, Found: wal.Look(path)}
		at, err := i.proveWAL(&statefile.State{Epoch: saltB, Previous: header.Salt, PreviousScanned: test.scanned})
		if err != nil || at.epoch != header.Salt || at.scanned != test.want || (at.scanned > 0) != (at.checksum != [2]uint32{}) {
			t.Errorf("%d frames scanned: %+v, %v, want %d", test.scanned, at, err, test.want)
		}
	}
}

// With synchronous=off, a power loss may restore the frames of an emptied WAL and keep
// some later writes to the database.
func TestInspectUnsyncedReset(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	conn, err := sqlite3.Open("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Exec("PRAGMA journal_mode=wal; CREATE TABLE t (x)"); err != nil {
		t.Fatal(err)
	}
	id, err := statefile.Identify(path)
	if err != nil {
		t.Fatal(err)
	}
	found := wal.Look(path)
	for unsynced, want := range map[bool]continuity.Proof{false: continuity.Proven, true: continuity.Unproven} {
		r := statefile.New("file:///replica", id)
		r.Acked = &statefile.Mark{TXID: 7, Checksum: 1}
		r.State = &statefile.State{PageSize: 4096, Floor: 5, Previous: found.WAL.Salt, PreviousScanned: found.Last, Unsynced: unsynced,
			Closed: &statefile.Closed{Size: 4096, MTime: time.Now().Add(-time.Hour).UTC(), Settled: true}}
		if err := r.Save(path); err != nil {
			t.Fatal(err)
		}
		if i, err := Inspect(path, "file:///replica"); err != nil || i.Proof != want {
			t.Errorf("unsynced %v: proof %d because %v, %v", unsynced, i.Proof, i.Why, err)
		}
	}
}

// closedDatabase creates a database file without a WAL that was last written long ago.
func closedDatabase(t *testing.T) (path string, closed statefile.Closed) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "app.db")
	header := make([]byte, 5*512)
	copy(header, "SQLite format 3\x00")
	binary.BigEndian.PutUint16(header[16:], 512)
	if err := os.WriteFile(path, header, 0o600); err != nil {
		t.Fatal(err)
	}
	mtime := time.Now().Add(-time.Hour).Round(time.Second).Add(time.Millisecond)
	if err := os.Chtimes(path, mtime, mtime); err != nil {
		t.Fatal(err)
	}
	return path, statefile.Closed{Size: int64(len(header)), MTime: mtime.UTC(), Settled: true}
}

// A state file proves that a closed database is unchanged only if no write can have gone
// unnoticed, and only if the state of the replica was known then.
func TestInspectClosed(t *testing.T) {
	elsewhere := continuity.Moved // the other file is no longer at its path
	if statefile.MachineID() == "" {
		elsewhere = continuity.Copied
	}
	for name, test := range map[string]struct {
		change func(*statefile.Record, *statefile.State, *statefile.Closed)
		record continuity.Record
		proof  continuity.Proof
	}{
		"as it was left": {nil, continuity.OwnFile, continuity.Proven},
		"written to in the tick in which it was left": {
			func(_ *statefile.Record, _ *statefile.State, c *statefile.Closed) { c.Settled = false },
			continuity.OwnFile, continuity.Unproven},
		"written to later": {
			func(_ *statefile.Record, _ *statefile.State, c *statefile.Closed) {
				c.MTime = c.MTime.Add(-time.Second)
			},
			continuity.OwnFile, continuity.Unproven},
		"of another size": {
			func(_ *statefile.Record, _ *statefile.State, c *statefile.Closed) { c.Size++ },
			continuity.OwnFile, continuity.Unproven},
		"not closed": {
			func(_ *statefile.Record, s *statefile.State, _ *statefile.Closed) { s.Closed = nil },
			continuity.OwnFile, continuity.Unproven},
		"every page was dirty": {
			func(_ *statefile.Record, s *statefile.State, _ *statefile.Closed) { s.Floor = 0 },
			continuity.OwnFile, continuity.Unproven},
		"without syncs, but closed": {
			func(_ *statefile.Record, s *statefile.State, _ *statefile.Closed) { s.Unsynced = true },
			continuity.OwnFile, continuity.Proven},
		"of another replica": {
			func(r *statefile.Record, _ *statefile.State, _ *statefile.Closed) { r.Replica = "file:///other" },
			continuity.NoRecord, continuity.Unproven},
		"of another file": {
			func(r *statefile.Record, _ *statefile.State, _ *statefile.Closed) { r.File.Inode++ },
			elsewhere, continuity.Unproven},
		"that had lost commits": {
			func(r *statefile.Record, _ *statefile.State, _ *statefile.Closed) { r.DiskLost = true },
			continuity.OwnFile, continuity.DiskLost},
	} {
		path, closed := closedDatabase(t)
		id, err := statefile.Identify(path)
		if err != nil {
			t.Fatal(err)
		}
		r := statefile.New("file:///replica", id)
		r.Acked = &statefile.Mark{TXID: 7, Checksum: 1}
		r.State = &statefile.State{PageSize: 512, Floor: 5, Closed: &closed}
		if test.change != nil {
			test.change(&r, r.State, &closed)
		}
		if err := r.Save(path); err != nil {
			t.Fatal(err)
		}
		i, err := Inspect(path, "file:///replica")
		if err != nil || i.Record != test.record || i.Proof != test.proof || (i.Why == nil) != (test.proof == continuity.Proven) {
			t.Errorf("%s: record %d, proof %d because %v, %v; want record %d, proof %d", name, i.Record, i.Proof, i.Why, err, test.record, test.proof)
		}
	}
}

// The WAL index settles a database file that was written in the tick in which the WAL
// became empty, unless a commit came since.
func TestSettle(t *testing.T) {
	for _, committed := range []bool{false, true} {
		path, closed := closedDatabase(t)
		closed.Settled = false
		l := clean(format.Salt{}, 0)
		l.path, l.closed, l.change, l.index = path, &closed, 7, indexOf(saltA, 0, 5, 7, 512)
		if committed {
			l.index = indexOf(saltA, 0, 5, 8, 512)
		}
		l.settle()
		if l.closed.Settled == committed {
			t.Errorf("with a commit since, %v: settled, %v", committed, l.closed.Settled)
		}
	}
}
