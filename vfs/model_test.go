package vfs_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"
	"pgregory.net/rapid"

	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// A machine is a database and its replica, and the model that they are compared with: the
// list of committed states.
type machine struct {
	t       *testing.T
	dir     string
	path    string
	url     string // this machine's URL of the replica
	machine int
	conn    *sqlite3.Conn // nil: closed
	store   *storagetest.Memory
	outage  bool
	commits []digest
	replica replayed
}

// TestModel holds invariants 1, 2 and 4 over all events in the life of a database, in any
// order.
func TestModel(t *testing.T) {
	setFlag(t, "rapid.checks", "40")
	setFlag(t, "rapid.nofailfile", "true")
	n := 0
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		n++
		m := &machine{t: t, dir: filepath.Join(dir, fmt.Sprint(n)), store: newReplica(t)}
		defer m.end()
		m.start(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"":                 m.check,
			"open":             m.open,
			"commit":           m.commit,
			"commit more":      m.commit,
			"commit a lot":     m.commitMuch,
			"vacuum":           m.vacuum,
			"checkpoint":       m.checkpoint,
			"roll back":        m.rollBack,
			"crash":            m.crash,
			"outage":           m.toggleOutage,
			"commit elsewhere": m.foreignCommit,
			"checkpoint there": m.foreignCheckpoint,
			"close":            m.close,
			"drain":            m.drain,
			"to a new machine": m.takeOver,
			"move":             m.move,
			"lose the state":   m.loseState,
			"set back":         m.setBack,
		})
		m.setOutage(false)
		m.open(rt)
		m.drain(rt)
	})
}

// setFlag sets a flag for one test, unless the command line sets it.
func setFlag(t *testing.T, name, value string) {
	t.Helper()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	if given {
		return
	}
	old := flag.Lookup(name).Value.String()
	if err := flag.Set(name, value); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { flag.Set(name, old) })
}

// start begins a machine with a new database.
func (m *machine) start(rt *rapid.T) {
	m.moveTo(rt)
	m.openNew(rt)
	m.exec(rt, "PRAGMA page_size=512")
	// Each is a commit, and the first one puts the database into WAL mode.
	for _, q := range []string{fmt.Sprintf("PRAGMA auto_vacuum=%d", rapid.IntRange(0, 2).Draw(rt, "auto_vacuum")), "CREATE TABLE t (x)"} {
		m.exec(rt, q)
		settled(m.t, m.path)
		m.note(rt)
	}
	m.exec(rt, "INSERT INTO t SELECT randomblob(150) FROM generate_series(1, 100)")
	m.note(rt)
}

// moveTo makes m another machine, without a database.
func (m *machine) moveTo(rt *rapid.T) {
	m.machine++
	dir := filepath.Join(m.dir, fmt.Sprint(m.machine))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		rt.Fatal(err)
	}
	m.path = filepath.Join(dir, "app.db")
	m.url = newAlias(m.t, m.store).URL
}

func (m *machine) end() {
	m.setOutage(true)
	if m.conn != nil {
		m.conn.Close()
	}
	os.RemoveAll(m.dir)
}

func (m *machine) setOutage(on bool) {
	m.outage = on
	m.store.SetBefore(nil)
	if on {
		down(m.store)
	}
}

func (m *machine) openNew(rt *rapid.T) {
	u := strings.Replace(uri(m.path, m.alias(), "close_timeout=2ms", "_pragma=wal_autocheckpoint(20)", "_pragma=cache_size(10)"),
		"vfs=replicated&", "vfs=replicated-power&", 1)
	conn, err := sqlite3.Open(u)
	if err != nil {
		rt.Fatal(err)
	}
	m.conn = conn
}

func (m *machine) alias() alias { return alias{Store: m.store, URL: m.url} }

func (m *machine) exec(rt *rapid.T, sql string) {
	rt.Helper()
	if err := m.conn.Exec(sql); err != nil {
		rt.Fatalf("%s: %v", sql, err)
	}
}

// note adds the last committed state to the model.
func (m *machine) note(rt *rapid.T) { m.commits = append(m.commits, liveDigest(rt, m.path)) }

// check fails if anything but a commit has changed the database.
func (m *machine) check(rt *rapid.T) {
	if liveDigest(rt, m.path) != m.commits[len(m.commits)-1] {
		rt.Fatal("the database is not in the state that was committed last")
	}
}

func (m *machine) isOpen(rt *rapid.T) {
	if m.conn == nil {
		rt.Skip("closed")
	}
}

func (m *machine) open(rt *rapid.T) {
	if m.conn == nil {
		m.openNew(rt)
	}
}

func (m *machine) commit(rt *rapid.T) {
	m.isOpen(rt)
	row := rapid.IntRange(1, 100).Draw(rt, "row")
	m.exec(rt, fmt.Sprintf("BEGIN; UPDATE t SET x = randomblob(100) WHERE rowid = %d; DELETE FROM t WHERE rowid = %[1]d + 100; INSERT INTO t VALUES (randomblob(%d)); COMMIT",
		row, rapid.IntRange(0, 2000).Draw(rt, "size")))
	m.note(rt)
}

// commitMuch outgrows the page cache, or shrinks the database.
func (m *machine) commitMuch(rt *rapid.T) {
	m.isOpen(rt)
	m.exec(rt, rapid.SampledFrom([]string{
		"UPDATE t SET x = randomblob(140)",
		"DELETE FROM t WHERE rowid > 60",
		"INSERT INTO t SELECT randomblob(300) FROM generate_series(1, 100)",
	}).Draw(rt, "statement"))
	m.note(rt)
}

func (m *machine) vacuum(rt *rapid.T) {
	m.isOpen(rt)
	m.exec(rt, rapid.SampledFrom([]string{"VACUUM", "PRAGMA incremental_vacuum"}).Draw(rt, "statement"))
	m.note(rt)
}

var checkpointModes = []string{"PASSIVE", "FULL", "RESTART", "TRUNCATE"}

func (m *machine) checkpoint(rt *rapid.T) {
	m.isOpen(rt)
	m.exec(rt, "PRAGMA busy_timeout=100; PRAGMA wal_checkpoint("+rapid.SampledFrom(checkpointModes).Draw(rt, "mode")+")")
}

func (m *machine) rollBack(rt *rapid.T) {
	m.isOpen(rt)
	m.exec(rt, "BEGIN; UPDATE t SET x = randomblob(130); ROLLBACK")
}

// crash ends the process and leaves the files unchanged.
func (m *machine) crash(rt *rapid.T) {
	m.isOpen(rt)
	down(m.store) // an upload under way has written its intent
	d := save(m.t, m.path)
	m.conn.Close()
	m.conn = nil
	d.Write(m.t, m.path)
	m.setOutage(m.outage)
}

func (m *machine) toggleOutage(*rapid.T) { m.setOutage(!m.outage) }

func (m *machine) foreign(rt *rapid.T, sql string) {
	plain, err := sqlite3.Open("file:" + m.path + "?vfs=power&_pragma=busy_timeout(2000)")
	if err != nil {
		rt.Fatal(err)
	}
	defer plain.Close()
	if err := plain.Exec(sql); err != nil {
		rt.Fatal(err)
	}
	m.note(rt)
}

func (m *machine) foreignCommit(rt *rapid.T) {
	m.foreign(rt, fmt.Sprintf("INSERT INTO t VALUES (randomblob(%d))", rapid.IntRange(0, 2000).Draw(rt, "size")))
}

func (m *machine) foreignCheckpoint(rt *rapid.T) {
	m.foreign(rt, "PRAGMA wal_checkpoint("+rapid.SampledFrom(checkpointModes).Draw(rt, "mode")+")")
}

func (m *machine) close(rt *rapid.T) {
	m.isOpen(rt)
	if err := m.conn.Close(); err != nil {
		rt.Fatal(err)
	}
	m.conn = nil
}

// drain compares the replica with the database, and all its TXIDs with the model.
func (m *machine) drain(rt *rapid.T) {
	m.isOpen(rt)
	if m.outage {
		rt.Skip("outage")
	}
	ctx, cancel := context.WithTimeout(rt.Context(), 20*time.Second)
	defer cancel()
	if err := flush(ctx, m.path); err != nil {
		rt.Fatalf("the replica does not catch up: %v", err)
	}
	m.replica.RequireTip(rt, m.store, m.path, "after a drain")
	m.replica.RequireCommits(rt, m.commits, "after a drain")
}

// takeOver restores the database elsewhere. Commits that the replica did not have are no
// longer part of its history. The old machine is fenced.
func (m *machine) takeOver(rt *rapid.T) {
	if m.outage {
		rt.Skip("outage")
	}
	old := *m
	if m.conn != nil {
		m.drain(rt)
	}
	m.replica.Replay(rt, m.store)
	m.moveTo(rt)
	_, err := restore.Restore(rt.Context(), m.alias(), m.path, restore.Options{})
	if errors.Is(err, restore.ErrNoReplica) {
		m.path, m.url = old.path, old.url
		rt.Skip("no replica yet")
	}
	if err != nil {
		rt.Fatal(err)
	}
	tip := m.replica.States[len(m.replica.States)-1]
	for m.commits[len(m.commits)-1] != tip {
		m.commits = m.commits[:len(m.commits)-1]
	}
	m.openNew(rt)
	m.drain(rt)
	if old.conn == nil {
		return
	}
	defer old.conn.Close()
	if err := old.conn.Exec("INSERT INTO t VALUES ('of an old machine')"); err != nil {
		rt.Fatal(err)
	}
	if err := flush(rt.Context(), old.path); !errors.Is(err, shipper.ErrFenced) {
		rt.Fatalf("the old machine got %v", err)
	}
}
