package vfs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"
	"pgregory.net/rapid"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// A world is some sites with one replica, and the model that they are compared with: what
// each commit was made on. A content is a digest of all pages, and no two commits make the
// same one.
type world struct {
	t       *testing.T
	store   *storagetest.Memory
	outage  bool
	sites   []*site
	parents map[digest]digest // of each content that was ever committed
	replica replayed
	checked int // TXIDs whose content was looked at
}

// A site is a place where a database can be. All are on one machine: a copy that is not
// the original's only successor cannot be told from one on another machine.
type site struct {
	*world
	name    string
	path    string
	conn    *sqlite3.Conn // nil: closed
	content digest        // of the database, zero if there is none
	expect  expectation   // of a replica that is asked to get everything
	opened  digest        // the content at open, if the site may make history go on from there
	lost    loss
	stopped error // why replication stopped, which it does for good
	saves   []volume
}

// TestContinuityModel: databases are copied, moved, rolled back and restored, lose their
// state files, and two of them run at once. The replica's history goes on from what it
// holds, except where a user allowed something else; who may go on does; who may not, does
// not; and restore= loses nothing.
func TestContinuityModel(t *testing.T) {
	setFlag(t, "rapid.checks", "25")
	setFlag(t, "rapid.steps", "50")
	setFlag(t, "rapid.nofailfile", "true")
	dir, n := powerDir(t), 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		w := newWorld(t, rt, filepath.Join(dir, fmt.Sprint(n)))
		defer w.end(filepath.Join(dir, fmt.Sprint(n)))
		rt.Repeat(map[string]func(*rapid.T){
			"":                   w.check,
			"open":               w.at((*site).open),
			"open again":         w.at((*site).open),
			"commit":             w.at((*site).commit),
			"commit more":        w.at((*site).commit),
			"checkpoint":         w.at((*site).checkpoint),
			"close":              w.at((*site).close),
			"crash":              w.at((*site).crash),
			"crash of the disk":  w.at((*site).loseFrames),
			"settle":             w.at((*site).settle),
			"settle again":       w.at((*site).settle),
			"commit elsewhere":   w.at((*site).foreignCommit),
			"checkpoint there":   w.at((*site).foreignCheckpoint),
			"copy":               w.at((*site).copy),
			"move":               w.at((*site).move),
			"damage":             w.at((*site).damageState),
			"restore":            w.at((*site).restoreFrom),
			"snapshot":           w.at((*site).snapshot),
			"roll back":          w.at((*site).rollBack),
			"outage, or its end": func(*rapid.T) { w.setOutage(!w.outage) },
		})
		w.setOutage(false)
		for _, s := range w.sites {
			if s.conn != nil {
				s.settle(rt)
			}
		}
		w.check(rt)
	})
}

// newWorld has a database at the first of three sites.
func newWorld(t *testing.T, rt *rapid.T, dir string) *world {
	w := &world{t: t, store: newReplica(t), parents: map[digest]digest{}}
	for i := range 3 {
		name := fmt.Sprint(i)
		s := &site{world: w, name: name, path: filepath.Join(dir, name, "app.db")}
		if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
			rt.Fatal(err)
		}
		memories.Store(s.host(), siteStore{w.store, name})
		w.sites = append(w.sites, s)
	}
	first := w.sites[0]
	first.connect(rt, "")
	for _, q := range []string{"PRAGMA page_size=512; PRAGMA auto_vacuum=2", "CREATE TABLE t (x)", "INSERT INTO t SELECT randomblob(150) FROM generate_series(1, 30)"} {
		first.exec(rt, q)
		settled(t, first.path)
		first.note(rt)
	}
	checkpoint(t, first.conn, sqlite3.CHECKPOINT_TRUNCATE) // no crash loses the table
	first.expect = goesOn
	return w
}

// A siteStore is the replica, which in one process is another one at each site.
type siteStore struct {
	*storagetest.Memory
	site string
}

// Place implements [storage.Placer].
func (s siteStore) Place() string { return s.String() + "/" + s.site }

func (w *world) end(dir string) {
	w.setOutage(false)
	for _, s := range w.sites {
		if s.conn != nil {
			s.conn.Close()
		}
		memories.Delete(s.host())
	}
	os.RemoveAll(dir)
}

func (w *world) setOutage(on bool) {
	w.outage = on
	w.store.SetBefore(nil)
	if on {
		down(w.store)
	}
}

// at has an action happen at any site, more often at the first ones.
func (w *world) at(do func(*site, *rapid.T)) func(*rapid.T) {
	return func(rt *rapid.T) {
		do(rapid.SampledFrom([]*site{w.sites[0], w.sites[0], w.sites[0], w.sites[1], w.sites[1], w.sites[2]}).Draw(rt, "site"), rt)
	}
}

// uri names the replica by the site: its store is the same.
func (s *site) uri(params ...string) string {
	return uri(s.path, replicaURL("memory://"+s.host()), params...)
}

// host is the site's name of the replica.
func (s *site) host() string { return "site-" + s.name + "-" + s.store.Name }

// GoString is how rapid shows a site.
func (s *site) GoString() string { return "site " + s.name }

func (s *site) connect(rt *rapid.T, params string) error {
	conn, err := sqlite3.Open(s.uri("_pragma=wal_autocheckpoint(20)", "close_timeout=2ms") + params)
	if err == nil {
		s.conn, s.stopped = conn, nil
	}
	return err
}

func (s *site) exec(rt *rapid.T, sql string) {
	rt.Helper()
	if err := s.conn.Exec(sql); err != nil {
		rt.Fatalf("site %s: %s: %v", s.name, sql, err)
	}
}

// note adds what was committed just now to the model.
func (s *site) note(rt *rapid.T) {
	rt.Helper()
	now := liveDigest(rt, s.path)
	if _, known := s.parents[now]; !known {
		s.parents[now] = s.content
	}
	s.content = now
}

// descends reports whether a content came of commits on another one, or is the same.
func (w *world) descends(from, to digest) bool {
	for ; to != (digest{}); to = w.parents[to] {
		if to == from {
			return true
		}
	}
	return from == digest{}
}

// check: nothing but a commit changes a database, and the replica is one log.
func (w *world) check(rt *rapid.T) {
	for _, s := range w.sites {
		if s.content != (digest{}) && liveDigest(rt, s.path) != s.content {
			rt.Fatalf("site %s: the database is not in the state that was committed last", s.name)
		}
	}
	w.checkLog(rt)
}

// checkLog: each TXID is what was committed on the one before, or the state of a site that
// may begin elsewhere.
func (w *world) checkLog(rt *rapid.T) {
	rt.Helper()
	w.setOutage(false)
	defer w.setOutage(w.outage)
	w.replica.Replay(rt, w.store)
	for ; w.checked < len(w.replica.States); w.checked++ {
		now := w.replica.States[w.checked]
		if _, known := w.parents[now]; !known {
			rt.Fatalf("TXID %d is no committed state", w.checked+1)
		}
		if w.checked == 0 || w.descends(w.replica.States[w.checked-1], now) {
			continue
		}
		allowed := false
		for _, s := range w.sites {
			allowed = allowed || s.opened != (digest{}) && w.descends(s.opened, now)
		}
		if !allowed {
			rt.Fatalf("TXID %d does not go on from the one before, and nobody allowed that", w.checked+1)
		}
	}
}

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

// crash ends the process with the files as they are.
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

// foreign has another program do something, which may die before it closes.
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

// settle has the replica get everything, or not.
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

// checkSettled: the replica has what the site has. A site that has nothing to upload does
// not notice that another one has taken over.
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

// open opens a database with any settings, when the other sites have nothing under way.
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
		return // it could not be asked
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
		s.expect = either // others may be faster
	case rapid.Bool().Draw(rt, "settle"):
		s.settle(rt)
	case s.expect == goesOn && !s.onlyOpen():
		s.expect = either
	}
}

// checkReplaced: what restore= replaced, the replica has.
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
	s.checkLog(rt) // others may have gone on meanwhile
	if !slices.Contains(s.replica.States[known-1:], s.content) {
		rt.Fatalf("site %s was replaced by something that is not the newest state", s.name)
	}
	s.expect = goesOn
	if before != (digest{}) && !f.held[before] {
		rt.Fatalf("site %s was replaced, and the replica does not have what was there", s.name)
	}
}

// restoreFrom restores the replica, newest or older, over whatever is there.
func (s *site) restoreFrom(rt *rapid.T) {
	s.isClosed(rt)
	if s.outage {
		rt.Skip("outage")
	}
	s.checkLog(rt)
	opts := restore.Options{Force: true}
	txid := len(s.replica.States)
	if rapid.Bool().Draw(rt, "older") {
		txid = rapid.IntRange(min(txid, 3), txid).Draw(rt, "TXID") // the first ones have no table
		opts.TXID, opts.Rewind = format.TXID(txid), rapid.Bool().Draw(rt, "rewind")
	}
	result, err := restore.Restore(rt.Context(), siteStore{s.store, s.name}, s.path, opts)
	if err != nil {
		rt.Fatal(err)
	}
	s.checkLog(rt) // others may have gone on meanwhile
	s.content, s.lost = s.replica.States[result.TXID-1], nothingLost
}
