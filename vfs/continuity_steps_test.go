package vfs_test

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ncruces/go-sqlite3"
	"pgregory.net/rapid"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/restore"
)

func (s *site) isOpen(rt *rapid.T) {
	if s.conn == nil {
		rt.Skip("closed")
	}
}

func (s *site) isThere(rt *rapid.T) {
	if s.content == (digest{}) {
		rt.Skip("no database")
	}
}

func (s *site) isClosed(rt *rapid.T) {
	if s.conn != nil {
		rt.Skip("open")
	}
}

func (s *site) commit(rt *rapid.T) {
	s.isOpen(rt)
	s.exec(rt, rapid.SampledFrom([]string{
		"INSERT INTO t VALUES (randomblob(200))",
		"UPDATE t SET x = randomblob(160) WHERE rowid % 3 = 0",
		"BEGIN; DELETE FROM t WHERE rowid > 20; INSERT INTO t VALUES (randomblob(100)); COMMIT",
	}).Draw(rt, "statement"))
	s.note(rt)
}

func (s *site) checkpoint(rt *rapid.T) {
	s.isOpen(rt)
	s.exec(rt, "PRAGMA busy_timeout=100; PRAGMA wal_checkpoint("+rapid.SampledFrom(checkpointModes).Draw(rt, "mode")+")")
}

func (s *site) close(rt *rapid.T) {
	s.isOpen(rt)
	if err := s.conn.Close(); err != nil {
		rt.Fatal(err)
	}
	s.conn = nil
}

// crash ends the process and leaves the files unchanged.
func (s *site) crash(rt *rapid.T) {
	s.isOpen(rt)
	was := s.outage
	down(s.store)
	d := save(s.t, s.path)
	s.conn.Close()
	s.conn = nil
	d.Write(s.t, s.path)
	s.setOutage(was)
}

// foreign runs a statement in another program, which may die before it closes.
func (s *site) foreign(rt *rapid.T, sql string) {
	s.isThere(rt)
	s.lost = min(s.lost, lostUnseen)
	plain, err := sqlite3.Open("file:" + s.path + "?_pragma=busy_timeout(2000)")
	if err == nil {
		err = plain.Exec(sql)
	}
	if err != nil {
		rt.Fatal(err)
	}
	dies := s.conn == nil && rapid.Bool().Draw(rt, "dies")
	d := save(s.t, s.path)
	plain.Close()
	if dies {
		d.Write(s.t, s.path)
	}
	s.note(rt)
}

func (s *site) foreignCommit(rt *rapid.T) { s.foreign(rt, "INSERT INTO t VALUES (randomblob(90))") }

func (s *site) foreignCheckpoint(rt *rapid.T) {
	s.foreign(rt, "PRAGMA wal_checkpoint("+rapid.SampledFrom(checkpointModes).Draw(rt, "mode")+")")
}

// settle waits until the replica has every commit, or until replication has stopped.
func (s *site) settle(rt *rapid.T) {
	rt.Helper()
	s.isOpen(rt)
	if s.outage {
		rt.Skip("outage")
	}
	ctx, cancel := context.WithTimeout(rt.Context(), 20*time.Second)
	defer cancel()
	err := flush(ctx, s.path)
	stops := errors.Is(err, shipper.ErrDiverged) || errors.Is(err, shipper.ErrFenced)
	switch {
	case err != nil && !stops:
		rt.Fatalf("site %s: the replica does not catch up: %v", s.name, err)
	case s.stopped != nil && err == nil:
		rt.Fatalf("site %s: replication had stopped, and goes on: %v", s.name, s.stopped)
	case s.expect == goesOn && err != nil:
		rt.Fatalf("site %s must go on, and got %v", s.name, err)
	case s.expect == halts && err == nil:
		rt.Fatalf("site %s must not go on, and does", s.name)
	}
	if s.stopped = err; err == nil {
		s.checkSettled(rt)
	}
}

// checkSettled fails unless the replica equals the site. A site that has nothing to
// upload does not notice that another site has taken over.
func (s *site) checkSettled(rt *rapid.T) {
	rt.Helper()
	s.checkLog(rt)
	s.expect = either
	if s.onlyOpen() && s.find(rt).wrote {
		s.expect = goesOn
		s.replica.RequireTip(rt, s.store, s.path, "site "+s.name)
	} else if !slices.Contains(s.replica.States, s.content) {
		rt.Fatalf("site %s settles, and the replica does not have what it has", s.name)
	}
}

func (s *site) onlyOpen() bool {
	return !slices.ContainsFunc(s.sites, func(other *site) bool { return other != s && other.conn != nil })
}

// open opens a database with any settings, while the other sites have no upload under
// way.
func (s *site) open(rt *rapid.T) {
	s.isClosed(rt)
	a := asked{
		adopt:     rapid.SampledFrom([]string{"moved", "moved", "equal", "never"}).Draw(rt, "adopt"),
		restore:   rapid.SampledFrom([]string{"never", "never", "if-missing", "if-behind"}).Draw(rt, "restore"),
		overwrite: rapid.IntRange(0, 7).Draw(rt, "overwrite") == 0,
	}
	if s.content == (digest{}) && a.restore == "never" {
		rt.Skip("no database")
	}
	for _, other := range s.sites {
		if other.conn != nil && !s.outage {
			flush(rt.Context(), other.path)
		}
	}
	s.checkLog(rt)
	before, f := s.content, s.find(rt)
	s.expect = f.judge(a)
	err := s.connect(rt, a.params())
	if err != nil && s.outage && a.restore != "never" {
		return // the store was down
	}
	if err != nil {
		rt.Fatalf("site %s: %v", s.name, err)
	}
	s.checkReplaced(rt, f, a, before)
	s.opened = digest{}
	if a.overwrite || f.own && f.marked && f.lost != lost {
		s.opened = s.content
	}
	if a.overwrite {
		s.lost = nothingLost
	}
	for _, other := range s.sites {
		if other != s {
			other.expect = either // it may be fenced
		}
	}
	switch {
	case s.outage:
		s.expect = either // other sites may be faster
	case rapid.Bool().Draw(rt, "settle"):
		s.settle(rt)
	case s.expect == goesOn && !s.onlyOpen():
		s.expect = either
	}
}

// checkReplaced fails unless the replica has the database that restore= replaced.
func (s *site) checkReplaced(rt *rapid.T, f facts, a asked, before digest) {
	rt.Helper()
	id, err := statefile.Identify(s.path)
	if err != nil {
		rt.Fatal(err)
	}
	if id == f.id && before != (digest{}) {
		if f.mustReplace(a) && !s.outage {
			rt.Fatalf("site %s is behind, and not replaced", s.name)
		}
		return
	}
	s.content, s.lost = liveDigest(rt, s.path), nothingLost
	known := len(s.replica.States)
	s.checkLog(rt) // other sites may have continued meanwhile
	if !slices.Contains(s.replica.States[known-1:], s.content) {
		rt.Fatalf("site %s was replaced by something that is not the newest state", s.name)
	}
	s.expect = goesOn
	if before != (digest{}) && !f.held[before] {
		rt.Fatalf("site %s was replaced, and the replica does not have what was there", s.name)
	}
}

// restoreFrom restores the replica's newest or an older state over the site's database,
// if any.
func (s *site) restoreFrom(rt *rapid.T) {
	s.isClosed(rt)
	if s.outage {
		rt.Skip("outage")
	}
	s.checkLog(rt)
	opts := restore.Options{Force: true}
	txid := len(s.replica.States)
	if rapid.Bool().Draw(rt, "older") {
		txid = rapid.IntRange(min(txid, 3), txid).Draw(rt, "TXID") // the first TXIDs have no table
		opts.TXID, opts.Rewind = format.TXID(txid), rapid.Bool().Draw(rt, "rewind")
	}
	result, err := restore.Restore(rt.Context(), siteStore{s.store, s.name}, s.path, opts)
	if err != nil {
		rt.Fatal(err)
	}
	s.checkLog(rt) // other sites may have continued meanwhile
	s.content, s.lost = s.replica.States[result.TXID-1], nothingLost
}
