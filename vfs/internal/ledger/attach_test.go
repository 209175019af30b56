package ledger

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/vfs/internal/wal"
)

// Another process commits after the files were looked at, before the WAL index is open,
// and then checkpoints and truncates the WAL: the index shows no commit since it was
// opened.
func TestAttachToAnotherWAL(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	if err := os.WriteFile(path, make([]byte, 100*512), 0o600); err != nil {
		t.Fatal(err)
	}
	then := time.Now().Add(-time.Minute)
	if err := os.Chtimes(path, then, then); err != nil {
		t.Fatal(err)
	}
	l := clean(format.Salt{}, 0)
	l.path, l.pageSize, l.closed = path, 512, closedNow(path)
	l.Attach(indexOf(saltA, 3, 100, 7, 512))
	if err := l.Scan(bytes.NewReader(nil), format.WALIndex{PageSize: 512, Salt: saltB, Change: 7, NPage: 100}, &wal.FrameIndex{}); err != nil {
		t.Fatal(err)
	}
	if !l.all() {
		t.Error("no resync")
	}
}

// After a reset whose write failed, frames of the epoch after its last commit are not
// taken for scanned: after SQLite's recovery, new commits may follow the last commit.
func TestFailedResetIsNotScanned(t *testing.T) {
	uncommitted := walOf(saltA, []uint32{1, 2, 3}, 0, 50)
	l := clean(saltA, 2)
	l.Reset(bytes.NewReader(uncommitted), saltB, func() error { return io.ErrShortWrite })
	log := bytes.NewReader(walOf(saltA, []uint32{1, 2, 9}, 0, 50, 50))
	if err := l.Scan(log, format.WALIndex{PageSize: 512, Salt: saltA, MxFrame: 3, NPage: 50}, &wal.FrameIndex{}); err != nil {
		t.Fatal(err)
	}
	requireDirty(t, l, 3, 9)
}
