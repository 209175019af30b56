package vfs_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"
	sqlitevfs "github.com/ncruces/go-sqlite3/vfs"
	"github.com/ncruces/go-sqlite3/vfs/xts"

	"github.com/walvfs/walvfs/vfs"
)

const cipherKey = "hexkey=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func init() {
	sqlitevfs.Register("xts-on-top", xts.Wrap(sqlitevfs.Find("replicated"), nil))
	vfs.Register("over-xts", vfs.Options{Base: "xts"})
	vfs.Register("over-xts-hexkey", vfs.Options{Base: "xts", Parameters: []string{"hexkey"}})
	vfs.Register("replicated-parameters", vfs.Options{Parameters: []string{"tenant"}})
}

// requireNoFile fails if a directory that was empty has a file.
func requireNoFile(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("%s was left behind", e.Name())
	}
}

// An open with a parameter that no code reads fails, and creates no file.
func TestParametersThatNobodyReads(t *testing.T) {
	for param, want := range map[string]string{
		"durabilty=sync":         "unknown parameter durabilty (did you mean durability?)",
		"Durability=sync":        "did you mean durability?",
		"max-lag=5m":             "did you mean max_lag?",
		"sync-timeout=off":       "did you mean sync_timeout?",
		"on-fenced=readonly":     "did you mean on_fenced?",
		"restore-if-missing=1":   "did you mean restore=if-missing?",
		"restore_if_behind":      "did you mean restore=if-behind?",
		"replica_url=s3://b/x":   "did you mean replica?",
		"adapt=equal":            "did you mean adopt?",
		"_pargma=foreign_keys=1": "did you mean _pragma?",
		"_busy_timeout=5000":     "write _pragma=busy_timeout(...)",
		"region=eu-central-1":    "region belongs to the replica URL: replica=s3://bucket/app%3Fregion=...",
		"endpoint=http://h":      "endpoint belongs to the replica URL",
		"force-path-style=true":  "force-path-style belongs to the replica URL",
		"forcePathStyle=true":    "forcePathStyle belongs to the replica URL",
		"tenant=7":               "walvfs has adopt, close_timeout, diverged",
		cipherKey:                "hexkey asks for encryption",
		"textkey=hunter2":        "textkey asks for encryption",
		"a%22b%0A=1":             `unknown parameter "a\"b\n"`,
	} {
		dir := t.TempDir()
		got := openError(t, uri(filepath.Join(dir, "app.db"), newReplica(t), param))
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
		if strings.Contains(got, "hunter2") {
			t.Errorf("%q has a secret", got)
		}
		requireNoFile(t, dir)
	}
}

// An open reports all mistakes at once.
func TestAllParametersAreReported(t *testing.T) {
	got := openError(t, uri(filepath.Join(t.TempDir(), "app.db"), newReplica(t), "durabilty=sync", "max-lag=5m"))
	if !strings.Contains(got, "durabilty") || !strings.Contains(got, "max-lag") {
		t.Error(got)
	}
}

func TestParametersOfOthersPass(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	store := newReplica(t)
	for _, param := range []string{
		"mode=rwc", "cache=private", "psow=0", "nolock=0", "nolock=no", "immutable=off", "immutable=000", "modeof=" + os.TempDir(),
		"_pragma=busy_timeout(1000)&_pragma=foreign_keys(on)", "_txlock=deferred", "_timefmt=sqlite", "durability=sync&durability=sync", "adopt=equal",
	} {
		open(t, uri(path, store, param)).Close()
	}
	open(t, strings.Replace(uri(path, store, "tenant=7"), "vfs=replicated&", "vfs=replicated-parameters&", 1)).Close()
}

func TestValuesThatAreRefused(t *testing.T) {
	for params, want := range map[string]string{
		"durability=sync&durability=async": "durability is there twice, with different values",
		"interval=1s&interval=2s":          "interval is there twice",
		"durability=":                      "durability has no value",
		"durability":                       "durability has no value",
		"durability=fsync":                 "durability=fsync: expected async or sync",
		"adopt=always":                     "adopt=always: expected moved, equal or never",
		"max_lag=never":                    "max_lag=never: expected off or a duration",
		"close_timeout=off":                "close_timeout=off: expected a duration",
		"keep_raw=1m":                      "keep_raw=1m: expected 5m0s or more",
		"replica=memory://other":           "replica is there twice",
		"nolock=1":                         "nolock removes the locks",
		"nolock=TRUE":                      "nolock removes the locks",
		"nolock=7x":                        "nolock removes the locks",
		"nolock=0&nolock=1":                "nolock removes the locks",
		"immutable=on":                     "immutable declares",
		"immutable=Yes":                    "immutable declares",
		"immutable=1&mode=ro":              "open the database without vfs=replicated",
	} {
		dir := t.TempDir()
		if got := openError(t, uri(filepath.Join(dir, "app.db"), newReplica(t), params)); !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
		requireNoFile(t, dir)
	}
}

// The open of a file that requests replication through another VFS fails; it does not
// silently open a plain file.
func TestReplicationThroughAnotherVFS(t *testing.T) {
	dir := t.TempDir()
	store := newReplica(t)
	for _, params := range []string{"", "&replica=" + store.String(), "&durability=sync"} {
		got := openError(t, "file:"+filepath.Join(dir, "app.db")+"?vfs=xts-on-top&"+cipherKey+params)
		if !strings.Contains(got, "the VFS xts-on-top wraps replicated") {
			t.Error(got)
		}
	}
	requireNoFile(t, dir)

	conn := open(t, uri(filepath.Join(dir, "app.db"), store))
	exec(t, conn, "CREATE TABLE t (x)")
	for _, p := range []string{"replica=memory://x", "durability=sync", "max_lag=1m", "restore=if-missing"} {
		target := "file:" + filepath.Join(dir, "attached.db") + "?" + p
		for _, sql := range []string{"ATTACH '" + target + "' AS second", "VACUUM INTO '" + target + "'"} {
			if err := conn.Exec(sql); err == nil {
				t.Errorf("%s succeeded", sql)
			}
		}
	}
	exec(t, conn, "ATTACH 'file:"+filepath.Join(dir, "plain.db")+"?mode=rwc' AS plain", "CREATE TABLE plain.t (x)",
		"VACUUM INTO '"+filepath.Join(dir, "copy.db")+"'")
}

// The open refuses an encrypting VFS underneath, however it gets its key: the replica
// would hold plain text.
func TestEncryptionUnderneath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	conn := open(t, "file:"+path+"?vfs=xts&"+cipherKey)
	exec(t, conn, "CREATE TABLE t (x)")
	conn.Close()
	before := readFile(t, path)
	pragma := "_pragma=" + strings.Replace(cipherKey, "=", "('", 1) + "')"
	for _, test := range []struct{ file, vfs, param, want string }{
		{path, "over-xts-hexkey", cipherKey, "stores a database in another form"},
		{path, "over-xts", pragma, "stores a database in another form"},
		{path, "over-xts", cipherKey, "hexkey asks for encryption"},
		{path + ".new", "over-xts", cipherKey, "hexkey asks for encryption"},
		{path + ".new", "over-xts", pragma, "stores a database in another form"},
	} {
		got := openError(t, strings.Replace(uri(test.file, newReplica(t), test.param), "vfs=replicated&", "vfs="+test.vfs+"&", 1))
		if !strings.Contains(got, test.want) {
			t.Errorf("%s with %s: %q lacks %q", test.vfs, test.param, got, test.want)
		}
	}
	if _, err := os.Stat(path + ".new"); err == nil {
		t.Error("a database was created")
	}
	if conn, err := sqlite3.Open(uri(path+".new", newReplica(t), pragma)); err == nil || !strings.Contains(err.Error(), "PRAGMA hexkey asks for encryption") {
		t.Error(err)
		conn.Close()
	}
	if !bytes.Equal(readFile(t, path), before) {
		t.Error("the database was changed")
	}
}
