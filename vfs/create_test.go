package vfs_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// An open that fails leaves no empty file, which would keep restore=if-missing from
// restoring the database.
func TestMistakeLeavesNoFile(t *testing.T) {
	for params, want := range map[string]string{
		"replica=file:///tmp/rep%3Fregion=x":               `unknown parameter "region": file URLs have none`,
		"replica=file://tmp/rep":                           "the path must be absolute",
		"replica=file:///tmp/100%25.db":                    "write %25",
		"replica=memory://none":                            "no memory store none",
		"replica=nfs://server":                             "unknown scheme",
		"replica=file:///tmp/rep&interval=soon":            "interval=soon: expected a duration",
		"replica=file:///tmp/rep&restore=if-missing&x=%00": "unknown parameter x",
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "app.db")
		injected.on(path, &faultHooks{open: func(string) error { t.Errorf("%s: the file was opened", params); return nil }})
		if got := openError(t, "file:"+path+"?vfs=replicated-faults&"+params); !strings.Contains(got, want) {
			t.Errorf("%s: %q lacks %q", params, got, want)
		}
		requireNoFile(t, dir)
	}
}

// An open of a database that cannot be replicated leaves the existing file, and no other.
func TestRefusedDatabaseLeavesNoFile(t *testing.T) {
	store := newReplica(t)
	conn := open(t, uri(filepath.Join(t.TempDir(), "first.db"), store))
	exec(t, conn, "CREATE TABLE t (x)")
	touch := func(path string) {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Error(err)
		}
	}
	for name, test := range map[string]struct {
		before, meanwhile func(path string)
		left              bool
	}{
		"no file":                           {},
		"an empty file":                     {before: touch, left: true},
		"a file that somebody else creates": {meanwhile: touch, left: true},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "second.db")
		if test.before != nil {
			test.before(path)
		}
		hooks := &faultHooks{open: func(string) error {
			if test.meanwhile != nil {
				test.meanwhile(path)
			}
			return nil
		}}
		if got := openError(t, faulty(path, store, hooks)); !strings.Contains(got, "already the replica of") {
			t.Errorf("%s: %s", name, got)
		}
		if !test.left {
			requireNoFile(t, dir)
		} else if _, err := os.Stat(path); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A file name becomes a part of the replica's path, whatever characters it has.
func TestFileNamesBelowBase(t *testing.T) {
	base, dir := t.TempDir(), t.TempDir()
	t.Setenv("WALVFS_REPLICA", "file://"+base)
	names := []string{"sms#1.db", "100%.db", "what?.db", "a b.db", "a%20b.db", "jo%40example.org.db", "jo@example.org.db", "q?endpoint=http:%2F%2Fh&x.db", "-.db", "ü.db"}
	for _, name := range names {
		path := filepath.Join(dir, name)
		conn := open(t, "file:"+url.PathEscape(path)+"?vfs=replicated&interval=0s")
		exec(t, conn, "CREATE TABLE t (x)", "INSERT INTO t VALUES (1)")
		settled(t, path)
		conn.Close()
		replica := storagetest.Replica{URL: (&url.URL{Scheme: "file", Path: filepath.Join(base, name)}).String()}
		requireEqual(t, replica.Open(t), path)
	}
	entries, err := os.ReadDir(base)
	if err != nil || len(entries) != len(names) {
		t.Errorf("%d replicas of %d databases: %v", len(entries), len(names), err)
	}
}

// Two files of one name do not share a replica, and the error names the remedy.
func TestTwoFilesOfOneName(t *testing.T) {
	t.Setenv("WALVFS_REPLICA", "file://"+t.TempDir())
	first, second := filepath.Join(t.TempDir(), "app.db"), filepath.Join(t.TempDir(), "app.db")
	conn := open(t, "file:"+first+"?vfs=replicated&interval=0s")
	exec(t, conn, "CREATE TABLE t (x)")
	settled(t, first)
	got := openError(t, "file:"+second+"?vfs=replicated")
	for _, want := range []string{first, second, "by their file names only", "add replica=URL", "walvfs.yml"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	conn.Close()
	// In another process, or later, the replica itself causes the error.
	conn = open(t, "file:"+second+"?vfs=replicated&interval=0s")
	exec(t, conn, "CREATE TABLE t (x)")
	if got := haltedBecause(t, second); !strings.Contains(got, "WALVFS_REPLICA tells databases apart by their file names only") {
		t.Error(got)
	}
}

// Different spellings of a replica's URL are one replica.
func TestSpellingsOfReplica(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Skip(err)
	}
	path := filepath.Join(t.TempDir(), "app.db")
	dsn := func(path, replica string) string {
		return "file:" + path + "?vfs=replicated&interval=0s&replica=" + url.QueryEscape("file://"+replica)
	}
	conn := open(t, dsn(path, dir+"/rep"))
	exec(t, conn, "CREATE TABLE t (x)")
	for _, replica := range []string{dir + "/rep/", dir + "//rep", dir + "/x/../rep", link + "/rep", dir + "/%72ep"} {
		open(t, dsn(path, replica)).Close()
		if got := openError(t, dsn(path+".second", replica)); !strings.Contains(got, "already the replica of "+path) {
			t.Error(got)
		}
	}
	if got := openError(t, dsn(path, dir+"/other")); !strings.Contains(got, "already open with another replica") {
		t.Error(got)
	}
}

// haltedBecause waits until the replication of a database has halted, and returns why.
func haltedBecause(t *testing.T, path string) string {
	t.Helper()
	eventually(t, "replication halts", func() bool {
		st, _ := statusOf(path)
		return st.State == shipper.Halted
	})
	st, _ := statusOf(path)
	return st.Err.Error()
}

// A URI that contradicts the settings of an open database fails; its settings would be
// ignored.
func TestConnectionsOfOneDatabaseAgree(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	conn := open(t, uri(path, store, "max_lag=5m", "diverged=halt"))
	for param, want := range map[string]string{
		"max_lag=6m":         "max_lag=6m: the database is already open with another max_lag",
		"max_lag=off":        "another max_lag",
		"diverged=overwrite": "another diverged",
		"adopt=never":        "another adopt",
		"snapshots=1h":       "another snapshots",
		"retention=1h":       "another retention",
		"fencing=off":        "another fencing",
		"on_fenced=readonly": "another on_fenced",
		"close_timeout=1s":   "another close_timeout",
	} {
		if got := openError(t, uri(path, store, param)); !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	for _, param := range []string{"", "max_lag=300s", "close_timeout=10s", "retention=24h", "adopt=moved",
		"durability=sync", "sync_timeout=off", "lock_timeout=1m", "restore=if-missing"} {
		open(t, strings.TrimSuffix(uri(path, store, param), "&")).Close()
	}
	conn.Close()
	open(t, uri(path, store, "max_lag=6m")).Close()
}
