package restore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper/restore/internal/disk"
)

// A restore keeps the database that it replaces as a complete database, once: no database
// that an earlier restore kept, nor any of its logs, remains.
func TestKeep(t *testing.T) {
	s := smallReplica(t)
	for name, old := range map[string]image{
		"closed":  hot(t, fillSmall),
		"wal":     hot(t, fillSmall, inWAL, changeSmall),
		"journal": hot(t, fillSmall, beginSmall),
	} {
		for way, links := range map[string]bool{"linked": true, "copied": false} {
			t.Run(name+", "+way, func(t *testing.T) {
				target := filepath.Join(t.TempDir(), "app.db")
				keep := target + statefile.SuffixBehind
				old.write(t, target)
				want := digest(t, target)
				writeFiles(t, map[string]string{keep: "older", keep + "-wal": "older log", keep + "-journal": "older log", keep + "-shm": "x"})
				opts := Options{Force: true, Keep: keep}
				if !links {
					opts.hooks.Step = noLinks(keep)
				}
				if _, err := Restore(t.Context(), s.store, target, opts); err != nil {
					t.Fatal(err)
				}
				checkFile(t, target, s.images[smallTip])
				checkNames(t, filepath.Dir(target), "app.db", "app.db"+statefile.SuffixBehind)
				if got := digest(t, keep); got != want {
					t.Errorf("kept %s, want %s", got, want)
				}
			})
		}
	}
}

// noLinks undoes a step that gave the kept database its name by a hard link, and fails,
// like a file system without hard links.
func noLinks(keep string) func(do func() error) error {
	return func(do func() error) error {
		had := disk.Exists(keep)
		err := do()
		if info, e := os.Lstat(keep); err == nil && !had && e == nil && disk.LinksOf(info) > 1 {
			return errors.Join(os.Remove(keep), errDisk)
		}
		return err
	}
}

// Logs of a file that is not a database are kept with it, and come back if it stays.
func TestKeepLooseLogs(t *testing.T) {
	s := smallReplica(t)
	for name, renamed := range map[string]bool{"replaced": true, "not replaced": false} {
		t.Run(name, func(t *testing.T) {
			target := garbage(t)
			keep := target + statefile.SuffixBehind
			before := readDir(t, filepath.Dir(target))
			opts := Options{Force: true, Keep: keep}
			if !renamed {
				opts.hooks.Step = func(do func() error) error {
					if !disk.Exists(target + "-wal") {
						return errDisk
					}
					return do()
				}
			}
			_, err := Restore(t.Context(), s.store, target, opts)
			files := readDir(t, filepath.Dir(target))
			if renamed && (err != nil || files["app.db-walvfs-behind"] != before["app.db"] || files["app.db-walvfs-behind-wal"] != before["app.db-wal"]) {
				t.Errorf("%v, %q", err, files)
			}
			if !renamed {
				if err := CleanUp(target); err != nil {
					t.Fatal(err)
				}
				files := readDir(t, filepath.Dir(target))
				if files["app.db"] != before["app.db"] || files["app.db-wal"] != before["app.db-wal"] {
					t.Errorf("%v, %q", err, files)
				}
			}
		})
	}
}

// CleanUp removes what interrupted restores leave, and nothing else.
func TestCleanUp(t *testing.T) {
	target := filepath.Join(t.TempDir(), "app.db")
	hot(t, fillSmall, inWAL, changeSmall).write(t, target)
	before := contentOf(t, target)
	leave := func() {
		writeFiles(t, map[string]string{
			target + "-walvfs-restore":               "half of it",
			target + "-walvfs-behind-walvfs-restore": "half of it",
			target + "-walvfs-old":                   "old",
			target + "-wal-walvfs-old":               "old",
		})
		os.Remove(target + "-walvfs-behind")
		if err := os.Link(target, target+"-walvfs-behind"); err != nil {
			t.Skip(err)
		}
	}
	leave()
	conn, err := sqlite3.Open("file:" + target) // a reader does not interfere
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Exec("BEGIN; SELECT count(*) FROM t"); err != nil {
		t.Fatal(err)
	}
	if err := CleanUp(target); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if got := contentOf(t, target); got != before {
		t.Error("the database is another one")
	}
	checkNames(t, filepath.Dir(target), "app.db")

	// A kept file that is not the database stays, as does everything during a restore.
	writeFiles(t, map[string]string{target + "-walvfs-behind": "kept"})
	if err := CleanUp(target); err != nil {
		t.Fatal(err)
	}
	checkNames(t, filepath.Dir(target), "app.db", "app.db-walvfs-behind")
	s := smallReplica(t)
	_, err = Restore(t.Context(), s.store, target, Options{Force: true, Keep: target + "-walvfs-behind", Progress: func(p Progress) {
		if err := CleanUp(target); err != nil {
			t.Error(err)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	checkFile(t, target, s.images[smallTip])
}

// While a restore has the old database locked, its second name stays.
func TestCleanUpDuringReplacement(t *testing.T) {
	s := smallReplica(t)
	target := filepath.Join(t.TempDir(), "app.db")
	hot(t, fillSmall).write(t, target)
	want := digest(t, target)
	keep := target + statefile.SuffixBehind
	step := func(do func() error) error {
		p := &place{path: target, keep: keep}
		if p.isKept() {
			os.Rename(target+tempSuffix, target+".hidden") // as if CleanUp had looked before it existed
			if err := CleanUp(target); err != nil {
				t.Error(err)
			}
			os.Rename(target+".hidden", target+tempSuffix)
		}
		return do()
	}
	if _, err := Restore(t.Context(), s.store, target, Options{Force: true, Keep: keep, hooks: disk.Hooks{Step: step}}); err != nil {
		t.Fatal(err)
	}
	if got := digest(t, keep); got != want {
		t.Error("the old database is not kept")
	}
}

// Confirm is called when no other program can change the old database any more.
func TestConfirm(t *testing.T) {
	s := smallReplica(t)
	no := errors.New("no")
	for name, want := range map[string]error{"yes": nil, "no": no} {
		t.Run(name, func(t *testing.T) {
			target := filepath.Join(t.TempDir(), "app.db")
			old := hot(t, fillSmall, inWAL, changeSmall)
			old.write(t, target)
			calls := 0
			_, err := Restore(t.Context(), s.store, target, Options{Force: true, Confirm: func() error {
				calls++
				conn, err := sqlite3.Open("file:" + target)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if err := conn.Exec("SELECT * FROM t"); !errors.Is(err, sqlite3.BUSY) {
					t.Errorf("it is not locked: %v", err)
				}
				return want
			}})
			if !errors.Is(err, want) || calls != 1 {
				t.Errorf("%v after %d calls", err, calls)
			}
			if want == nil {
				checkFile(t, target, s.images[smallTip])
				return
			}
			for suffix, b := range old {
				checkFile(t, target+suffix, b)
			}
		})
	}
}

// Restore does not follow, nor wait for, a foreign link or special file under a name that
// walvfs uses.
func TestForeignNames(t *testing.T) {
	s := smallReplica(t)
	for name, make := range map[string]func(name, victim string) error{
		"dangling link": func(name, victim string) error { return os.Symlink(victim+".new", name) },
		"link":          func(name, victim string) error { return os.Symlink(victim, name) },
		"directory":     func(name, victim string) error { return os.Mkdir(name, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			victim, target := filepath.Join(dir, "victim"), filepath.Join(dir, "app.db")
			writeFiles(t, map[string]string{victim: "precious"})
			for _, suffix := range []string{tempSuffix} {
				if err := make(target+suffix, victim); err != nil {
					t.Skip(err)
				}
			}
			_, err := Restore(t.Context(), s.store, target, Options{})
			if err == nil || !strings.Contains(err.Error(), "app.db-walvfs-restore: it is a link or a special file") {
				t.Errorf("restore: %v", err)
			}
			checkFile(t, victim, []byte("precious"))
			if disk.Exists(victim+".new") || disk.Exists(target) {
				t.Error("a file was created")
			}
		})
	}
}
