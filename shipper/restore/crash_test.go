package restore

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper/restore/internal/disk"
)

var restoreTwice = flag.Bool("restore.twice", false, "TestKilledTwice kills at every pair of steps, not at a quarter of them")

// A killer kills a restore before one of the steps in which it changes the disk: the
// restore does nothing from there on.
type killer struct {
	at, steps int
	killed    bool
}

var errKilled = errors.New("killed")

func (k *killer) step(do func() error) error {
	if k.killed = k.killed || k.steps == k.at; k.killed {
		return errKilled
	}
	k.steps++
	return do()
}

// kill restores a database and kills the restore before a step. It reports whether that
// step exists.
func kill(t *testing.T, s *source, target string, opts Options, at int) bool {
	t.Helper()
	k := &killer{at: at}
	opts.hooks.Step = k.step
	_, err := Restore(t.Context(), s.store, target, opts)
	if k.killed != (err != nil) || k.killed && !errors.Is(err, errKilled) && k.steps < k.at {
		t.Fatalf("killed before step %d: %v", at, err)
	}
	return k.killed
}

// replicaOf returns a replica of a database file.
func replicaOf(t *testing.T, db []byte) *source {
	s := newSource(t)
	s.pageSize, s.txid = uint32(pageSizeIn(db)), 1
	s.images = map[format.TXID][]byte{1: db}
	s.ship(format.LevelRaw, 1, 1)
	return s
}

// Statements for small databases: each page is a step.
const (
	fillSmall   = `PRAGMA page_size=512; CREATE TABLE t(a PRIMARY KEY, b); INSERT INTO t SELECT value, hex(randomblob(100)) FROM generate_series(1, 6)`
	changeSmall = `UPDATE t SET b=hex(randomblob(90))`
	beginSmall  = `PRAGMA cache_size=1; BEGIN; UPDATE t SET b=hex(randomblob(200))`
)

func oldImages(t *testing.T) map[string]image {
	images := map[string]image{
		"none":        nil,
		"empty":       {"": nil},
		"rollback":    hot(t, fillSmall),
		"wal, closed": hot(t, fillSmall, inWAL, changeSmall, "PRAGMA wal_checkpoint(TRUNCATE)"),
		"wal":         hot(t, fillSmall, inWAL, changeSmall, changeSmall, beginSmall),
		"journal":     hot(t, fillSmall, beginSmall),
	}
	if len(images["journal"]["-journal"]) < 1024 || len(images["wal"]["-wal"]) < 4096 {
		t.Fatal("they are not hot")
	}
	return images
}

// Wherever a restore is killed, SQLite then finds the old database or the new one, and
// the next restore succeeds. The kept database is the old one.
func TestKilledAtEveryStep(t *testing.T) {
	s := replicaOf(t, hot(t, fillSmall)[""])
	for name, old := range oldImages(t) {
		for _, keep := range []string{"", statefile.SuffixBehind} {
			t.Run(name+keep, func(t *testing.T) {
				at := 0
				for again := true; again; at++ {
					target := filepath.Join(t.TempDir(), "app.db")
					old.write(t, target)
					before := contentOf(t, target)
					remembers := rememberOld(t, target)
					opts := Options{Force: true}
					if keep != "" {
						opts.Keep = target + keep
					}
					again = kill(t, s, target, opts, at)
					requireOneOf(t, at, target, before, newContent(t, s))
					if remembers {
						requireOwnRecord(t, at, s, target, before)
					}
					if keep != "" && disk.Exists(opts.Keep) && before != "" {
						requireOneOf(t, at, opts.Keep, before)
					}
					requireRestored(t, s, target, opts)
				}
				t.Logf("%d steps", at-1)
			})
		}
	}
}

const oldReplica = "file:///old"

// rememberOld gives a database a record.
func rememberOld(t *testing.T, path string) bool {
	t.Helper()
	if !disk.Exists(path) {
		return false
	}
	id, err := statefile.Identify(path)
	if err == nil {
		err = statefile.New(oldReplica, id).Save(path)
	}
	if err != nil {
		t.Fatal(err)
	}
	return true
}

// requireOwnRecord checks that the record belongs to the database at the path.
func requireOwnRecord(t *testing.T, at int, s *source, path, old string) {
	t.Helper()
	r, err := statefile.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	id, err := statefile.Identify(path)
	if err != nil || r.File != id {
		t.Errorf("step %d: the record is of %v, the database is %v, %v", at, r.File, id, err)
	}
	if isOld := contentOf(t, path) == old; isOld != (r.Replica == oldReplica) {
		t.Errorf("step %d: the old database is there: %t, and the record is of %s", at, isOld, r.Replica)
	}
}

// The same holds if two restores in a row are killed, and an application uses the
// database in between.
func TestKilledTwice(t *testing.T) {
	every := 4
	if *restoreTwice {
		every = 1
	}
	s := replicaOf(t, hot(t, fillSmall)[""])
	for _, name := range []string{"wal", "journal"} {
		old := oldImages(t)[name]
		t.Run(name, func(t *testing.T) {
			for first, some := 0, true; some; first++ {
				for second, again := first%every, true; again; second += every {
					target := filepath.Join(t.TempDir(), "app.db")
					old.write(t, target)
					before := contentOf(t, target)
					opts := Options{Force: true, Keep: target + statefile.SuffixBehind}
					some = kill(t, s, target, opts, first)
					requireOneOf(t, first, target, before, newContent(t, s))
					work(t, target, name == "wal")
					before = contentOf(t, target)
					again = kill(t, s, target, opts, second)
					requireOneOf(t, 1000*first+second, target, before, newContent(t, s))
					requireRestored(t, s, target, opts)
				}
			}
		})
	}
}

// work changes a database, and is killed.
func work(t *testing.T, path string, wal bool) {
	t.Helper()
	conn, err := sqlite3.Open("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	mode, last := "PRAGMA journal_mode=delete", beginSmall
	if wal {
		mode, last = inWAL, changeSmall
	}
	for _, sql := range []string{mode, changeSmall, last} {
		if err := conn.Exec(sql); err != nil {
			t.Fatal(err)
		}
	}
	i := imageOf(t, path)
	conn.Close()
	i.write(t, path)
	if wal != (len(i["-wal"]) > 0) || !wal && len(i["-journal"]) == 0 {
		t.Fatal("nothing is hot")
	}
}

// Every step fails once: Restore returns the error, and leaves a database and no other
// files.
func TestEveryStepFails(t *testing.T) {
	s := replicaOf(t, hot(t, fillSmall)[""])
	for name, old := range oldImages(t) {
		t.Run(name, func(t *testing.T) {
			for at, again := 0, true; again; at++ {
				target := filepath.Join(t.TempDir(), "app.db")
				old.write(t, target)
				before := contentOf(t, target)
				n := 0
				fail := func(do func() error) error {
					n++
					if n-1 == at {
						return errDisk
					}
					return do()
				}
				_, err := Restore(t.Context(), s.store, target, Options{Force: true, Keep: target + statefile.SuffixBehind, hooks: disk.Hooks{Step: fail}})
				again = n > at
				if again != errors.Is(err, errDisk) && err != nil {
					t.Errorf("step %d: error is %v", at, err)
				}
				requireOneOf(t, at, target, before, newContent(t, s))
				if contentOf(t, target) == before && disk.Exists(target+statefile.SuffixBehind) && disk.Exists(target) {
					t.Errorf("step %d: the old database is in its place, and kept", at)
				}
			}
		})
	}
}

// contentOf returns a digest, or "" if SQLite finds no database.
func contentOf(t *testing.T, path string) string {
	t.Helper()
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		return ""
	}
	return digest(t, path)
}

var contents = map[*source]string{}

func newContent(t *testing.T, s *source) string {
	t.Helper()
	if contents[s] == "" {
		path := filepath.Join(t.TempDir(), "new.db")
		image{"": s.images[s.txid]}.write(t, path)
		contents[s] = digest(t, path)
	}
	return contents[s]
}

func requireOneOf(t *testing.T, at int, path string, want ...string) {
	t.Helper()
	got := contentOf(t, path)
	for _, w := range want {
		if got == w {
			return
		}
	}
	t.Fatalf("step %d: %s holds %q, want one of %q", at, filepath.Base(path), got, want)
}

// requireRestored restores, and checks that only the database, a record and the kept
// database exist.
func requireRestored(t *testing.T, s *source, target string, opts Options) {
	t.Helper()
	if _, err := Restore(t.Context(), s.store, target, opts); err != nil {
		t.Fatal(err)
	}
	requireOneOf(t, -1, target, newContent(t, s))
	for name := range readDir(t, filepath.Dir(target)) {
		switch name {
		case "app.db", "app.db" + statefile.Suffix, "app.db" + statefile.SuffixBehind:
		default:
			t.Errorf("%s is left", name)
		}
	}
}

// As soon as the new database has its name, an application may open it: Restore does not
// touch its logs.
func TestLogsOfTheNewDatabaseStay(t *testing.T) {
	s := smallReplica(t)
	target := filepath.Join(t.TempDir(), "app.db")
	hot(t, fillSmall, inWAL, changeSmall).write(t, target)
	logs := map[string]string{target + "-wal": "new log", target + "-journal": "new journal", target + "-shm": "new index", target + statefile.Suffix: "state"}
	opened := false
	open := func(do func() error) error {
		err := do()
		if b, e := os.ReadFile(target); !opened && e == nil && bytes.Equal(b, s.images[smallTip]) {
			opened = true
			writeFiles(t, logs)
		}
		return err
	}
	opts := Options{Force: true, Keep: target + statefile.SuffixBehind, hooks: disk.Hooks{Step: open}}
	if _, err := Restore(t.Context(), s.store, target, opts); err != nil || !opened {
		t.Fatal(err, opened)
	}
	for name, content := range logs {
		checkFile(t, name, []byte(content))
	}
}
