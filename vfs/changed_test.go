package vfs_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage"
)

// duringDownload is a replica that calls a function when a restore reads its first file.
type duringDownload struct {
	alias
	mu sync.Mutex
	do func()
}

func (s *duringDownload) Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, storage.Attrs, error) {
	s.mu.Lock()
	do := s.do
	if n > 0 && n < 1000 { // a read of a header or a trailer
		do = nil
	}
	if do != nil {
		s.do = nil
	}
	s.mu.Unlock()
	if do != nil {
		do()
	}
	return s.alias.Open(ctx, key, off, n)
}

// A database that gets a commit during the download of its replacement is judged again,
// and keeps the commit.
func TestWrittenDuringReplacement(t *testing.T) {
	r := newRun(t)
	r.Conn.Close()
	rival(r)
	store := &duringDownload{alias: newAlias(t, r.Store)}
	memories.Store(strings.TrimPrefix(store.URL, "memory://"), store)
	// The state file names the replica by its URL.
	store.alias.URL = r.Store.String()
	memories.Store(strings.TrimPrefix(r.Store.String(), "memory://"), store)
	written := false
	store.do = func() {
		plain := open(t, "file:"+r.Path)
		exec(t, plain, "INSERT INTO t VALUES ('by a cron job')")
		plain.Close()
		written = true
	}
	conn := open(t, uri(r.Path, store, "restore=if-behind", "close_timeout=1ms"))
	if !written {
		t.Fatal("nothing was downloaded")
	}
	if got := query(t, conn, "SELECT x FROM t ORDER BY rowid DESC"); got != "by a cron job" {
		t.Errorf("the newest row is %s", got)
	}
	if err := flush(t.Context(), r.Path); !errors.Is(err, shipper.ErrDiverged) {
		t.Errorf("got %v", err)
	}
}
