package vfs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/ncruces/go-sqlite3"
	"pgregory.net/rapid"

	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// A world is some sites with one replica, and the model that they are compared with: the
// content that each commit was made on. A content is a digest of all pages, and no two
// commits make the same content.
type world struct {
	t       *testing.T
	store   *storagetest.Memory
	outage  bool
	sites   []*site
	parents map[digest]digest // of every committed content
	replica replayed
	checked int // TXIDs whose content was checked
}

// A site is a directory for a database. All sites are on one machine: walvfs cannot tell
// a copy that is not the original's only successor from a copy on another machine.
type site struct {
	*world
	name    string
	path    string
	conn    *sqlite3.Conn // nil: closed
	content digest        // of the database, zero without a database
	expect  expectation   // of the next upload of all commits
	opened  digest        // the content at open, if the site may continue the replica's history from it
	lost    loss
	stopped error // why replication stopped for good
	saves   []volume
}

// TestContinuityModel copies databases, moves them, rolls them back, restores them, loses
// their state files, and runs two of them at once. The replica's history continues from
// its newest state, unless a user allowed another; a database that may continue it does;
// a database that may not does not; and restore= loses no commit.
func TestContinuityModel(t *testing.T) {
	setFlag(t, "rapid.checks", "25")
	setFlag(t, "rapid.steps", "50")
	setFlag(t, "rapid.nofailfile", "true")
	dir, n := t.TempDir(), 0
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

// newWorld returns a world with a database at the first of three sites.
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

// A siteStore is the replica under a site's own name: in one process, each site appears
// to have another replica.
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

// at runs an action at any site, more often at the first sites.
func (w *world) at(do func(*site, *rapid.T)) func(*rapid.T) {
	return func(rt *rapid.T) {
		do(rapid.SampledFrom([]*site{w.sites[0], w.sites[0], w.sites[0], w.sites[1], w.sites[1], w.sites[2]}).Draw(rt, "site"), rt)
	}
}

// uri names the replica by the site: all sites have the same store.
func (s *site) uri(params ...string) string {
	return uri(s.path, replicaURL("memory://"+s.host()), params...)
}

// host is the site's name of the replica.
func (s *site) host() string { return "site-" + s.name + "-" + s.store.Name }

// GoString returns the text by which rapid shows a site.
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

// note adds the last commit to the model.
func (s *site) note(rt *rapid.T) {
	rt.Helper()
	now := liveDigest(rt, s.path)
	if _, known := s.parents[now]; !known {
		s.parents[now] = s.content
	}
	s.content = now
}

// descends reports whether a content equals another content, or was committed on top of
// it.
func (w *world) descends(from, to digest) bool {
	for ; to != (digest{}); to = w.parents[to] {
		if to == from {
			return true
		}
	}
	return from == digest{}
}

// check fails if anything but a commit has changed a database, or if the replica is not
// one log.
func (w *world) check(rt *rapid.T) {
	for _, s := range w.sites {
		if s.content != (digest{}) && liveDigest(rt, s.path) != s.content {
			rt.Fatalf("site %s: the database is not in the state that was committed last", s.name)
		}
	}
	w.checkLog(rt)
}

// checkLog fails unless each TXID was committed on top of the previous TXID, or is the
// state of a site that may begin elsewhere.
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
