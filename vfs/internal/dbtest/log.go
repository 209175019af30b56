package dbtest

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	sqlitevfs "github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/vfs"
)

// NewVFS registers a replicating VFS with a log of its own, until the test ends.
func NewVFS(t *testing.T, opts vfs.Options) (name string, log *LogLines) {
	name, log = "replicated-"+strings.ToLower(rand.Text()), &LogLines{}
	opts.Logger = slog.New(slog.NewTextHandler(log, nil))
	vfs.Register(name, opts)
	t.Cleanup(func() {
		sqlitevfs.Unregister(name)
		sqlitevfs.Unregister(name + ".internal")
	})
	return name, log
}

// LogLines collects the lines of a log.
type LogLines struct {
	mu    sync.Mutex
	lines []string
}

// Write implements [io.Writer].
func (l *LogLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(p))
	return len(p), nil
}

// With returns the lines that contain all of the words.
func (l *LogLines) With(words ...string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
lines:
	for _, line := range l.lines {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue lines
			}
		}
		found = append(found, line)
	}
	return found
}

// RequireForgotten waits for replication to handle a tip that the state file does not
// name. If the file system distinguishes a file from every other file, replication
// compares the content, continues and logs it. Otherwise it halts and logs the reason.
func RequireForgotten(t *testing.T, path string, log *LogLines) {
	t.Helper()
	id, err := statefile.Identify(path)
	if err != nil {
		t.Fatal(err)
	}
	if id.Birth != 0 {
		Settled(t, path)
		if n := len(log.With("level=INFO", "continuing the replica", "but the database holds it")); n == 0 {
			t.Errorf("the log does not say why replication resumed:\n%s", log.With(""))
		}
		return
	}
	Eventually(t, "replication halts", func() bool {
		st, _ := Status(path)
		return st.State == shipper.Halted
	})
	if st, _ := Status(path); !errors.Is(st.Err, shipper.ErrDiverged) || !strings.Contains(st.Err.Error(), "diverged=overwrite") {
		t.Errorf("%+v", st)
	}
}
