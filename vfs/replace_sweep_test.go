package vfs_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/internal/statefile/diskhook"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
)

var replaceTwice = flag.Bool("replace.twice", false, "TestReplacementKilled kills at every pair of operations, not at some")

// replaceVar holds the orders of a process that is killed. The process is this test
// binary, which runs TestReplacementKilled.
const replaceVar = "WALVFS_TEST_REPLACE"

// Exit statuses of a process that ended as if killed.
const (
	exitKilled  = 77
	exitWriting = 78 // during a write to the state file
)

// A replaceOrder makes a process replace a database, continue with it and end before one
// of the operations that change files.
type replaceOrder struct {
	Path, Replica string
	Restore       string // the parameter, "" to force a restore
	At            int    // the operation, from 1
	Torn          bool   // it does half of a write to the state file
}

// TestReplacementKilled kills a process before any operation on files with which it
// replaces a database by its replica's newest state, continues with it and replicates;
// and then kills the next process in the same way. SQLite finds the old database or the
// new one. Started again, the application has the new database, with every commit since,
// and replicates. The files left have the names in README.md.
func TestReplacementKilled(t *testing.T) {
	if text := os.Getenv(replaceVar); text != "" {
		replaceAndDie(text)
		return
	}
	for name, begin := range replacements {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := begin(t)
			r.save()
			operations := r.sweepOnce()
			r.sweepTwice(operations)
			t.Logf("%d operations", operations)
		})
	}
}

// replaceAndDie is the process that is killed.
func replaceAndDie(text string) {
	var o replaceOrder
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		panic(err)
	}
	slog.SetDefault(slog.New(slog.DiscardHandler))
	var n atomic.Int64
	count := func() bool { return n.Add(1) == int64(o.At) }
	step := func(do func() error) error {
		if count() {
			os.Exit(exitKilled)
		}
		return do()
	}
	diskhook.RestoreStep.Store(&step)
	wrap := func(_ string, disk diskhook.Disk) diskhook.Disk { return dyingDisk{disk, count, o.Torn} }
	diskhook.StateFile.Store(&wrap)
	if err := o.replace(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func (o replaceOrder) replace() error {
	if o.Restore == "" {
		store, err := storage.Open(context.Background(), o.Replica, storage.Options{})
		if err != nil {
			return err
		}
		_, err = restore.Restore(context.Background(), store, o.Path, restore.Options{Force: true})
		return errors.Join(err, store.Close())
	}
	conn, err := sqlite3.Open(uri(o.Path, replicaURL(o.Replica), "restore="+o.Restore))
	if err == nil {
		err = conn.Exec("INSERT INTO t VALUES ('child')")
	}
	if err != nil {
		return err
	}
	fmt.Println("committed")
	if err := flush(context.Background(), o.Path); err != nil {
		return err
	}
	return conn.Close()
}

// A dyingDisk is a state file whose process ends before an operation, or in the middle of
// it.
type dyingDisk struct {
	diskhook.Disk
	now  func() bool
	torn bool
}

func (d dyingDisk) WriteAt(p []byte, off int64) (int, error) {
	if d.now() {
		if d.torn {
			d.Disk.WriteAt(p[:len(p)/2], off)
		}
		os.Exit(exitWriting)
	}
	return d.Disk.WriteAt(p, off)
}

func (d dyingDisk) Sync() error {
	if d.now() {
		os.Exit(exitKilled)
	}
	return d.Disk.Sync()
}

// sweepOnce kills a process before each operation, and returns the number of operations.
func (r *replacedDB) sweepOnce() int {
	for at := 1; ; at++ {
		r.putBack()
		code, committed := r.kill(at, false)
		if code == 0 || r.t.Failed() {
			return at - 1
		}
		r.check(committed, fmt.Sprintf("operation %d", at))
		if code == exitWriting {
			r.putBack()
			_, committed = r.kill(at, true)
			r.check(committed, fmt.Sprintf("operation %d, half of it done", at))
		}
	}
}

// sweepTwice kills a process, and then the process that is started after it.
func (r *replacedDB) sweepTwice(operations int) {
	for first := 1; first <= operations; first++ {
		for second := 1; second <= operations; second++ {
			if !*replaceTwice && (first*5+second)%operations != 0 {
				continue
			}
			if r.t.Failed() {
				return
			}
			r.putBack()
			_, once := r.kill(first, false)
			_, again := r.kill(second, false)
			r.check(once+again, fmt.Sprintf("operations %d and %d", first, second))
		}
	}
}

// kill starts a process that is killed before an operation, if it reaches the operation,
// and returns how many commits it has made.
func (r *replacedDB) kill(at int, torn bool) (code, committed int) {
	r.t.Helper()
	text, err := json.Marshal(replaceOrder{r.path, string(r.url()), r.restore, at, torn})
	if err != nil {
		r.t.Fatal(err)
	}
	cmd := osexec.CommandContext(r.t.Context(), os.Args[0], "-test.run=^TestReplacementKilled$")
	cmd.Env = append(os.Environ(), replaceVar+"="+string(text))
	var log strings.Builder
	cmd.Stderr = &log
	out, err := cmd.Output()
	if code = cmd.ProcessState.ExitCode(); code != 0 && code != exitKilled && code != exitWriting {
		r.t.Fatalf("operation %d: %v\n%s", at, err, &log)
	}
	return code, strings.Count(string(out), "committed")
}

// check checks the files that a process has left, starts the application again, and
// checks its result.
func (r *replacedDB) check(committed int, label string) {
	t := r.t
	t.Helper()
	found := r.look()
	isOld, isNew := slices.Equal(found, r.old), isPrefix(r.want, found)
	if !isOld && !isNew {
		t.Errorf("%s: SQLite finds %q, neither the old database nor the new one", label, found)
	}
	want := r.want
	params := []string{"restore=" + r.restore}
	if params[0] == "restore=" {
		want, params = found, nil
	}
	conn, err := sqlite3.Open(r.uri(params...))
	if err != nil {
		t.Errorf("%s: %v", label, err)
		return
	}
	defer conn.Close()
	opened := rowsIn(t, conn)
	if !isPrefix(want, opened) || len(opened) > len(want)+2 || len(opened) < len(want)+committed {
		t.Errorf("%s: the application has %q, not the newest state %q and %d commits", label, opened, want, committed)
	}
	exec(t, conn, "INSERT INTO t VALUES ('on')")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := flush(ctx, r.path); err != nil {
		t.Errorf("%s: %v", label, err)
	}
	if err := conn.Close(); err != nil {
		t.Errorf("%s: %v", label, err)
	}
	store, err := storage.Open(t.Context(), string(r.url()), storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	requireEqual(t, store, r.path)
	if r.restore == "" { // a restore cleans up
		if _, err := restore.Restore(t.Context(), store, r.path, restore.Options{Force: true}); err != nil {
			t.Errorf("%s: %v", label, err)
		}
	}
	r.checkNames(label)
	if r.restore == "if-behind" && !slices.Equal(rowsOf(t, r.path+statefile.SuffixBehind), r.old) {
		t.Errorf("%s: the old database is not kept", label)
	}
	if t.Failed() {
		t.Logf("%s failed; there was %s", label, found)
	}
}

// look returns the rows that SQLite finds, without changing a file.
func (r *replacedDB) look() []string {
	r.t.Helper()
	path := filepath.Join(r.t.TempDir(), "look.db")
	for _, suffix := range []string{"", "-wal", "-journal"} {
		content, err := os.ReadFile(r.path + suffix)
		if errors.Is(err, os.ErrNotExist) || suffix == "" && len(content) == 0 {
			if suffix == "" {
				return nil
			}
			continue
		}
		if err == nil {
			err = os.WriteFile(path+suffix, content, 0o600)
		}
		if err != nil {
			r.t.Fatal(err)
		}
	}
	return rowsOf(r.t, path)
}

func (r *replacedDB) checkNames(label string) {
	r.t.Helper()
	for _, name := range r.names() {
		switch strings.TrimPrefix(name, "app.db") {
		case "", statefile.Suffix, statefile.SuffixBehind:
		default:
			r.t.Errorf("%s: %s is left", label, name)
		}
	}
}

func isPrefix(prefix, of []string) bool {
	return len(of) >= len(prefix) && slices.Equal(of[:len(prefix)], prefix)
}

// rowsOf returns the rows of a database. It reads a copy, so the file stays unchanged.
func rowsOf(t *testing.T, path string) []string {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "rows.db")
	for _, suffix := range []string{"", "-wal", "-journal"} {
		content, err := os.ReadFile(path + suffix)
		if err == nil {
			err = os.WriteFile(copied+suffix, content, 0o600)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	conn := open(t, "file:"+copied)
	defer conn.Close()
	if got := query(t, conn, "PRAGMA integrity_check"); got != "ok" {
		t.Errorf("%s: integrity_check: %s", path, got)
	}
	return rowsIn(t, conn)
}

func rowsIn(t *testing.T, conn *sqlite3.Conn) (rows []string) {
	t.Helper()
	stmt, _, err := conn.Prepare("SELECT substr(hex(x), 1, 20) FROM t ORDER BY rowid")
	if err != nil {
		t.Error(err)
		return nil
	}
	defer stmt.Close()
	for stmt.Step() {
		rows = append(rows, stmt.ColumnText(0))
	}
	if err := stmt.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}
