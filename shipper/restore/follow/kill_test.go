package follow_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/restore/follow"
	"github.com/walvfs/walvfs/shipper/storage"
)

const childVar = "WALVFS_FOLLOW_CHILD"

// followOrder is an order for a child process.
type followOrder struct {
	Replica string
	Path    string
	Until   format.TXID
	KillAt  int // the step before which it kills itself
	Force   bool
}

// TestFollowChild is the child of [TestFollowKilled] and [TestFollowReplaced].
func TestFollowChild(t *testing.T) {
	text := os.Getenv(childVar)
	if text == "" {
		t.Skip("it is for a child")
	}
	var o followOrder
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	store, err := storage.Open(t.Context(), o.Replica, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	opts := follow.Options{Options: restore.Options{Force: o.Force}}
	steps := 0
	opts.SetStep(func(do func() error) error {
		if steps++; steps == o.KillAt {
			self, _ := os.FindProcess(os.Getpid())
			self.Kill()
			select {}
		}
		return do()
	})
	f := runFollow(t, store, o.Path, opts)
	f.At(o.Until)
	f.Stop()
}

// killed makes a child execute the order, and reports whether it was killed.
func (o followOrder) killed(t *testing.T) bool {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestFollowChild$")
	cmd.Env = append(os.Environ(), childVar+"="+string(text))
	out, err := cmd.CombinedOutput()
	if e, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || e.ExitCode() != -1) {
		t.Fatalf("step %d: the child: %v\n%s", o.KillAt, err, out)
	}
	return err != nil
}

// followSteps are changes of a database that a copy takes over in one step.
var followSteps = map[string]func(l *live){
	"growth": func(l *live) { l.commit(manyRows(1000)) },
	"shrink": func(l *live) { l.commit("DELETE FROM t WHERE rowid > 5; VACUUM") },
	"page size 512": func(l *live) {
		l.changePageSize(512)
	},
	"page size 65536": func(l *live) {
		l.changePageSize(65536)
	},
}

func (l *live) changePageSize(size int) {
	l.t.Helper()
	l.conn.Close()
	plain, err := sqlite3.Open("file:" + l.path)
	if err == nil {
		err = errors.Join(plain.Exec(fmt.Sprintf("PRAGMA journal_mode=delete; PRAGMA page_size=%d; VACUUM; INSERT INTO t VALUES (1)", size)), plain.Close())
	}
	if err != nil {
		l.t.Fatal(err)
	}
	l.open()
	l.commit("INSERT INTO t VALUES (2)")
}

// A follower that is killed at any point leaves the copy at one of the two TXIDs: for
// SQLite, through which other programs read it, and for the next follower.
func TestFollowKilled(t *testing.T) {
	for name, step := range followSteps {
		t.Run(name, func(t *testing.T) { testFollowKilled(t, step) })
	}
}

func testFollowKilled(t *testing.T, step func(*live)) {
	l := newLive(t, 4096)
	l.commit(schema, manyRows(150))
	store := l.store()
	start := filepath.Join(t.TempDir(), "copy.db")
	f := runFollow(t, store, start, follow.Options{})
	f.At(2)
	f.Stop()
	step(l)
	to := tip(t, store)
	images := [][]byte{image(t, store, 2)}
	for txid := format.TXID(3); txid <= to; txid++ {
		images = append(images, image(t, store, txid))
	}
	moved := 0
	for k := 1; ; k++ {
		path := filepath.Join(t.TempDir(), "copy.db")
		copyFiles(t, start, path)
		if !(followOrder{l.replica, path, to, k, false}).killed(t) {
			if k < 8 || moved < 3 {
				t.Errorf("only %d steps, %d of them past the commit", k-1, moved)
			}
			requireCopy(t, store, path, to)
			return
		}
		if testAfterKill(t, store, path, to, images) {
			moved++
		}
	}
}

// testAfterKill reports whether the copy has moved.
func testAfterKill(t *testing.T, store storage.Store, path string, to format.TXID, images [][]byte) (moved bool) {
	t.Helper()
	bySQLite, byShell := filepath.Join(t.TempDir(), "copy.db"), filepath.Join(t.TempDir(), "copy.db")
	copyFiles(t, path, bySQLite)
	copyFiles(t, path, byShell)
	if shell, err := exec.LookPath("sqlite3"); err == nil {
		out, err := exec.Command(shell, byShell, "PRAGMA integrity_check").CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != "ok" {
			t.Fatalf("sqlite3: %v\n%s", err, out)
		}
		requireOneOf(t, byShell, images)
	}
	if got := ask(t, bySQLite, "PRAGMA integrity_check"); got != "ok" {
		t.Fatalf("integrity_check: %s", got)
	}
	moved = requireOneOf(t, bySQLite, images) > 0
	for _, p := range []string{bySQLite, path} {
		f := runFollow(t, store, p, follow.Options{})
		if r := f.Until("the copy", func(follow.Status) bool { return true }); !r.Resumed {
			t.Errorf("it was made anew: %+v", r)
		} else if r.TXID < to {
			f.At(to)
		}
		f.Stop()
		requireCopy(t, store, p, to)
		if names, _ := filepath.Glob(p + "-*"); len(names) != 1 {
			t.Errorf("beside the copy are %s", names)
		}
	}
	return moved
}

func requireOneOf(t *testing.T, path string, images [][]byte) int {
	t.Helper()
	got := masked(t, path)
	for i, want := range images {
		if bytes.Equal(got, want) {
			return i
		}
	}
	t.Fatalf("%s is at no TXID", path)
	return 0
}

func copyFiles(t *testing.T, from, to string) {
	t.Helper()
	names, err := filepath.Glob(from + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err == nil {
			err = os.WriteFile(to+strings.TrimPrefix(name, from), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// The follower reports any single disk error, and retries.
func TestFollowFaults(t *testing.T) {
	for name, step := range followSteps {
		t.Run(name, func(t *testing.T) {
			l := newLive(t, 4096)
			l.commit(schema, manyRows(150))
			store := l.store()
			start := filepath.Join(t.TempDir(), "copy.db")
			f := runFollow(t, store, start, follow.Options{})
			f.At(2)
			f.Stop()
			step(l)
			to := tip(t, store)
			for k, failed := 1, true; failed; k++ {
				path := filepath.Join(t.TempDir(), "copy.db")
				copyFiles(t, start, path)
				opts := follow.Options{}
				steps := 0
				failed = false
				opts.SetStep(func(do func() error) error {
					if steps++; steps == k {
						failed = true
						return errors.New("the disk fails")
					}
					return do()
				})
				f := runFollow(t, store, path, opts)
				f.At(to)
				f.Stop()
				requireCopy(t, store, path, to)
			}
		})
	}
}
