package vfs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// powerStore is a replica whose uploads take effect between a disk's operations.
type powerStore struct {
	alias
	disk *powerDisk

	mu      sync.Mutex
	down    bool
	created []powerObject
}

type powerObject struct {
	key   string
	data  []byte
	attrs storage.Attrs
}

func (s *powerStore) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.created)
}

func (s *powerStore) setDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

func (s *powerStore) Create(ctx context.Context, key string, body storage.Body, attrs storage.Attrs) error {
	if err := attrs.AwaitReady(); err != nil {
		return err
	}
	if s.disk != nil {
		s.disk.mu.Lock()
		defer s.disk.mu.Unlock()
		s.disk.image("before upload")
		defer s.disk.image("after upload")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return &storage.Error{Op: "create", URL: s.URL, Key: key, Err: errInjected}
	}
	b, err := io.ReadAll(io.NewSectionReader(body, 0, body.Size()))
	if err != nil {
		return err
	}
	if err := s.alias.Create(ctx, key, bytes.NewReader(b), attrs); err != nil {
		return err
	}
	if strings.HasSuffix(key, ".ltx") {
		s.created = append(s.created, powerObject{key, b, attrs})
	}
	return nil
}

// at resets the replica to its first objects, as many as given.
func (s *powerStore) at(t *testing.T, objects int) {
	t.Helper()
	m := &storagetest.Memory{Name: strings.TrimPrefix(s.URL, "memory://")}
	for _, o := range s.created[:objects] {
		if err := m.Create(t.Context(), o.key, bytes.NewReader(o.data), o.attrs); err != nil {
			t.Fatal(err)
		}
	}
	s.alias.Store = m
}

// A powerRun is the history of a database on a disk, with images of the disk.
type powerRun struct {
	path    string
	uri     string
	disk    *powerDisk
	store   *powerStore
	commits []digest // states, in order
}

// newPowerRun begins a history with a small replicated database.
func newPowerRun(t *testing.T, synchronous string) *powerRun {
	t.Helper()
	r := &powerRun{path: filepath.Join(t.TempDir(), "app.db")}
	r.store = &powerStore{alias: newAlias(t, nil)}
	memories.Store(strings.TrimPrefix(r.store.URL, "memory://"), r.store)
	r.store.at(t, 0)
	r.uri = strings.Replace(uri(r.path, r.store, "close_timeout=0s", "_pragma=synchronous("+synchronous+")",
		"_pragma=wal_autocheckpoint(12)", "_pragma=cache_size(10)"), "vfs=replicated&", "vfs=replicated-power&", 1)

	conn := open(t, r.uri)
	exec(t, conn, "PRAGMA page_size=1024")
	for _, q := range []string{"CREATE TABLE t (n INTEGER PRIMARY KEY, x)", "CREATE TABLE pad (x)",
		"INSERT INTO pad SELECT randomblob(300) FROM generate_series(1, 60)"} {
		exec(t, conn, q)
		r.note(t)
	}
	settled(t, r.path)
	conn.Close()
	r.disk = power.track(t, r.path, 10)
	r.disk.store, r.store.disk = r.store, r.disk
	return r
}

// stop ends the history.
func (r *powerRun) stop(conn *sqlite3.Conn) {
	conn.Close()
	power.forget(r.path)
	r.store.disk = nil
}

// powerWorkload writes to a database, with uploads, outages, checkpoints, resets
// and a restart.
func powerWorkload(t *testing.T, synchronous string, seed uint64) *powerRun {
	r := newPowerRun(t, synchronous)
	r.disk.rng = rand.New(rand.NewPCG(seed, 0))
	rng := rand.New(rand.NewPCG(seed, 1))
	conn := open(t, r.uri)
	n := 0
	for step := range 45 {
		switch k := rng.IntN(16); {
		case step == 30:
			conn.Close()
			conn = open(t, r.uri)
		case k == 0:
			exec(t, conn, "PRAGMA wal_checkpoint("+[]string{"PASSIVE", "FULL", "RESTART", "TRUNCATE"}[rng.IntN(4)]+")")
		case k == 1:
			r.store.setDown(true)
		case k <= 5:
			r.store.setDown(false)
			settled(t, r.path)
		case k == 6:
			exec(t, conn, "BEGIN", "UPDATE pad SET x = randomblob(290)", "ROLLBACK")
		default:
			n++
			exec(t, conn, "BEGIN", fmt.Sprintf("INSERT INTO t VALUES (%d, randomblob(%d))", n, rng.IntN(1500)),
				fmt.Sprintf("UPDATE pad SET x = randomblob(300) WHERE rowid BETWEEN %d AND %[1]d + %d", 1+rng.IntN(60), rng.IntN(6)))
			if rng.IntN(4) == 0 {
				exec(t, conn, fmt.Sprintf("DELETE FROM t WHERE n = %d", n-1-rng.IntN(5)))
			}
			exec(t, conn, "COMMIT")
			r.note(t)
		}
	}
	r.store.setDown(false)
	r.stop(conn)

	replica := &replayed{}
	replica.Replay(t, r.store)
	replica.RequireCommits(t, r.commits, "the run itself")
	return r
}

func (r *powerRun) note(t *testing.T) { r.commits = append(r.commits, liveDigest(t, r.path)) }

// A powerOutcome is the outcome of opening a database after a power loss.
type powerOutcome string

const (
	converged  powerOutcome = "converged"
	lostHalt   powerOutcome = "halted: the disk lost commits"
	otherHalt  powerOutcome = "halted: another history"
	unreadable powerOutcome = "SQLite cannot read the database"
)

// try writes the files that the power loss left, opens the database and returns the
// outcome.
func (r *powerRun) try(t *testing.T, i *powerImage, files disk, label string) (powerOutcome, uint64) {
	t.Helper()
	files.Write(t, r.path)
	r.store.at(t, i.objects)
	defer func(created []powerObject) { r.store.created = created }(r.store.created)
	replica := &replayed{}
	before := lastTXID(t, r.store)

	outcome, conn := r.reopen(t, r.uri, label)
	if outcome == lostHalt || outcome == otherHalt {
		if got := lastTXID(t, r.store); got != before {
			t.Errorf("%s: halted, but the replica went from %s to %s", label, before, got)
		}
		conn.Close()
		var again powerOutcome
		if again, conn = r.reopen(t, r.uri+"&diverged=overwrite", label); again != converged {
			t.Errorf("%s: %s, with diverged=overwrite: %s", label, outcome, again)
			outcome = unreadable
		}
	}
	if conn == nil {
		return unreadable, 0
	}
	defer conn.Close()
	if outcome == unreadable {
		return outcome, 0
	}
	replica.RequireTip(t, r.store, r.path, label)
	pages := pagesSinceTXID(t, r.store, before)
	if err := conn.Exec("INSERT INTO t(x) VALUES (randomblob(1200))"); err == nil {
		settled(t, r.path)
		replica.RequireTip(t, r.store, r.path, label+", one commit later")
	} else if !strings.Contains(r.uri, "(off)") {
		t.Errorf("%s: %v", label, err)
	}
	return outcome, pages
}

// reopen opens the database and waits for the replica.
func (r *powerRun) reopen(t *testing.T, uri, label string) (powerOutcome, *sqlite3.Conn) {
	t.Helper()
	conn, err := sqlite3.Open(uri)
	if err != nil {
		return unreadable, nil
	}
	if err := conn.Exec("SELECT count(*) FROM t"); err != nil {
		return unreadable, conn
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err = flush(ctx, r.path)
	switch {
	case err == nil:
		return converged, conn
	case errors.Is(err, shipper.ErrDiverged) && strings.Contains(err.Error(), "the disk has lost commits"):
		return lostHalt, conn
	case errors.Is(err, shipper.ErrDiverged) && strings.Contains(err.Error(), "this copy of the database did not write"),
		errors.Is(err, shipper.ErrDiverged) && strings.Contains(err.Error(), "does not hold it any more"):
		return otherHalt, conn
	}
	t.Errorf("%s: %v", label, err)
	return unreadable, conn
}

// pagesSinceTXID is pagesSince for any store.
func pagesSinceTXID(t *testing.T, store storage.Store, txid format.TXID) (pages uint64) {
	t.Helper()
	for txid++; ; txid++ {
		file, _, err := store.Open(t.Context(), store.Layout().Key(format.LevelRaw, txid, txid), 0, -1)
		if err != nil {
			return pages
		}
		if _, _, err := format.Decode(file, func(format.LTXHeader, uint32, []byte) error { pages++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPowerLoss holds invariants 1 and 2 after a power loss at any moment, with a disk
// that keeps synced writes: the replica converges. The disk has lost nothing that the
// replica has, because an upload follows a sync of its pages.
func TestPowerLoss(t *testing.T) {
	for _, synchronous := range []string{"normal", "full", "extra"} {
		t.Run(synchronous, func(t *testing.T) {
			testPowerLoss(t, synchronous, func(label string, outcome powerOutcome) {
				if outcome != converged {
					t.Errorf("%s: %s", label, outcome)
				}
			})
		})
	}
}

// TestPowerLossUnsynced is TestPowerLoss with an application that does not sync. A power
// loss may then leave any database, with pages from before a cut that the replica has.
// The replica equals the database, or replication halts.
func TestPowerLossUnsynced(t *testing.T) {
	testPowerLoss(t, "off", func(string, powerOutcome) {})
}

func testPowerLoss(t *testing.T, synchronous string, check func(label string, outcome powerOutcome)) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := powerWorkload(t, synchronous, seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	outcomes, whole, trials := map[powerOutcome]int{}, map[powerLoss]int{}, map[powerLoss]int{}
	for k := range r.disk.images {
		i := &r.disk.images[k]
		for _, loss := range []powerLoss{dropped, kept, zeroed, partly} {
			if rng.IntN(len(r.disk.images)) > 45 {
				continue
			}
			label := fmt.Sprintf("image %d, %s, unsynced content %s", k, i.what, loss)
			outcome, pages := r.try(t, i, i.disk(loss, rng), label)
			check(label, outcome)
			outcomes[outcome]++
			trials[loss]++
			if pages > 20 {
				whole[loss]++
			}
			if t.Failed() {
				return
			}
		}
	}
	t.Logf("%d images, losses of power: %v, %v; uploaded the whole database again: %v", len(r.disk.images), trials, outcomes, whole)
}

// TestUnsyncedCheckpoint: with synchronous=off, a power loss may destroy a checkpoint's
// pages after the WAL that held them has started over. The database then differs from the
// replica, and nothing in the WAL shows it.
func TestUnsyncedCheckpoint(t *testing.T) {
	r := newPowerRun(t, "off")
	conn := open(t, r.uri)
	exec(t, conn, "PRAGMA wal_autocheckpoint=0", "INSERT INTO pad SELECT 'shipped' FROM generate_series(1, 500)")
	settled(t, r.path)
	for before, n := walHeader(t, r.path), 0; bytes.Equal(walHeader(t, r.path), before); n++ {
		checkpoint(t, conn, sqlite3.CHECKPOINT_FULL)
		exec(t, conn, fmt.Sprintf("INSERT INTO t VALUES (%d, 'a new WAL')", n))
	}
	settled(t, r.path)
	r.disk.mu.Lock()
	r.disk.image("at last")
	i := r.disk.images[len(r.disk.images)-1]
	r.disk.mu.Unlock()
	r.stop(conn)
	outcome, _ := r.try(t, &i, i.disk(dropped, nil), "unsynced content dropped")
	t.Log(outcome)
}
