package restore

import (
	"bytes"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(storagetest.InMemory(m)) }

// restoreAs restores into a new directory and compares.
func restoreAs(t *testing.T, s *source, opts Options, want []byte) Result {
	t.Helper()
	target := filepath.Join(t.TempDir(), "app.db")
	result, err := Restore(t.Context(), s.store, target, opts)
	if err != nil {
		t.Fatal(err)
	}
	checkFile(t, target, want)
	checkNames(t, filepath.Dir(target), "app.db")
	return result
}

func checkFile(t *testing.T, name string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%s: %d bytes differ from the %d wanted", name, len(got), len(want))
	}
}

// checkNames compares the names in a directory, except for state files.
func checkNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	got := slices.DeleteFunc(slices.Sorted(maps.Keys(readDir(t, dir))), func(name string) bool {
		return strings.HasSuffix(name, statefile.Suffix)
	})
	if !slices.Equal(got, want) {
		t.Fatalf("%s has %q, want %q", dir, got, want)
	}
}

// readDir returns every file of a directory.
func readDir(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(b)
	}
	return files
}

// garbage writes a file that is not a database, with logs, to a new directory.
func garbage(t *testing.T) (target string) {
	t.Helper()
	target = filepath.Join(t.TempDir(), "app.db")
	writeFiles(t, map[string]string{
		target:          "old database",
		target + "-wal": "old log",
		target + "-shm": "old index",
	})
	return target
}

func writeFiles(t *testing.T, files map[string]string) {
	t.Helper()
	for name, content := range files {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// mustFail restores, once to a free path and once over an old database, and
// expects an error that leaves no trace.
func mustFail(t *testing.T, s *source, opts Options) error {
	t.Helper()
	dir := t.TempDir()
	_, err := Restore(t.Context(), s.store, filepath.Join(dir, "app.db"), opts)
	if err == nil {
		t.Fatal("restored")
	}
	checkNames(t, dir)

	target := garbage(t)
	before := readDir(t, filepath.Dir(target))
	opts.Force = true
	if _, err := Restore(t.Context(), s.store, target, opts); err == nil {
		t.Fatal("restored over the old database")
	}
	if after := readDir(t, filepath.Dir(target)); !maps.Equal(before, after) {
		t.Fatalf("the old database was touched: %q, was %q", after, before)
	}
	return err
}

var discard = slog.New(slog.DiscardHandler)

func textLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }
