package restore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
	_ "github.com/walvfs/walvfs/shipper/storage/file"
	"github.com/walvfs/walvfs/vfs"
)

// live is a database whose commits go to a replica.
type live struct {
	t       *testing.T
	path    string
	replica string // URL
	conn    *sqlite3.Conn
}

func newLive(t *testing.T, pageSize int) *live {
	dir := t.TempDir()
	l := &live{t: t, path: filepath.Join(dir, "app.db"), replica: "file://" + filepath.ToSlash(dir) + "/replica"}
	l.open()
	l.exec(fmt.Sprintf("PRAGMA page_size=%d", pageSize))
	return l
}

func (l *live) open() {
	conn, err := sqlite3.Open("file:" + l.path + "?vfs=replicated&interval=10ms&replica=" + url.QueryEscape(l.replica))
	if err != nil {
		l.t.Fatal(err)
	}
	l.conn = conn
	l.t.Cleanup(func() { conn.Close() })
}

func (l *live) exec(sql ...string) {
	l.t.Helper()
	for _, s := range sql {
		if err := l.conn.Exec(s); err != nil {
			l.t.Fatalf("%s: %v", s, err)
		}
	}
}

// commit makes each statement a TXID of its own.
func (l *live) commit(sql ...string) {
	l.t.Helper()
	for _, s := range sql {
		l.exec(s)
		if err := vfs.Flush(l.t.Context(), l.path); err != nil {
			l.t.Fatal(err)
		}
	}
}

func (l *live) store() *hidingStore {
	l.t.Helper()
	store, err := storage.Open(l.t.Context(), l.replica, storage.Options{})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { store.Close() })
	return &hidingStore{Store: store}
}

// hidingStore leaves out some files, and counts requests.
type hidingStore struct {
	storage.Store
	mu           sync.Mutex
	hide         func(format.FileInfo) bool // guarded by mu
	gone         func(format.FileInfo) bool // guarded by mu; listed, but removed when it is opened
	swapped      storage.Store              // guarded by mu
	lists, opens atomic.Int64
}

func (s *hidingStore) hides(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.Layout().Parse(key)
	return ok && s.hide != nil && s.hide(f)
}

func (s *hidingStore) swap(other storage.Store) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.swapped = other
}

func (s *hidingStore) under() storage.Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.swapped != nil {
		return s.swapped
	}
	return s.Store
}

func (s *hidingStore) setHide(hide func(format.FileInfo) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hide = hide
}

func (s *hidingStore) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Object, error] {
	s.lists.Add(1)
	return func(yield func(storage.Object, error) bool) {
		for o, err := range s.under().List(ctx, prefix, after) {
			if err == nil && s.hides(o.Key) {
				continue
			}
			if !yield(o, err) {
				return
			}
		}
	}
}

func (s *hidingStore) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, storage.Attrs, error) {
	s.opens.Add(1)
	s.mu.Lock()
	info, _ := s.Layout().Parse(key)
	gone := s.gone != nil && s.gone(info)
	s.mu.Unlock()
	if gone || s.hides(key) {
		return nil, storage.Attrs{}, &storage.Error{Op: "open", URL: s.String(), Key: key, Err: storage.ErrNotExist}
	}
	return s.under().Open(ctx, key, offset, length)
}

// following is a Follow that is under way.
type following struct {
	t       *testing.T
	path    string
	cancel  context.CancelFunc
	done    chan error
	reports chan restore.Followed
	seen    []restore.Followed
}

func follow(t *testing.T, store storage.Store, path string, opts restore.FollowOptions) *following {
	ctx, cancel := context.WithCancel(t.Context())
	f := &following{t: t, path: path, cancel: cancel, done: make(chan error, 1), reports: make(chan restore.Followed, 10000)}
	opts.Interval = 5 * time.Millisecond
	opts.Report = func(r restore.Followed) { f.reports <- r }
	go func() { f.done <- restore.Follow(ctx, store, path, opts) }()
	t.Cleanup(cancel)
	return f
}

// until waits for a report.
func (f *following) until(what string, ok func(restore.Followed) bool) restore.Followed {
	f.t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		select {
		case r := <-f.reports:
			f.seen = append(f.seen, r)
			if ok(r) {
				return r
			}
		case err := <-f.done:
			f.t.Fatalf("%s: it ended: %v", what, err)
		case <-timeout:
			f.t.Fatalf("%s: it did not come after %d reports; %+v", what, len(f.seen), f.seen[max(0, len(f.seen)-3):])
		}
	}
}

func (f *following) at(txid format.TXID) restore.Followed {
	f.t.Helper()
	return f.until("TXID "+txid.String(), func(r restore.Followed) bool { return r.TXID == txid && r.Err == nil && !r.Waiting })
}

func (f *following) stop() {
	f.t.Helper()
	f.cancel()
	if err := <-f.done; !errors.Is(err, context.Canceled) {
		f.t.Fatal(err)
	}
}

// masked is a database file without what a copy has of its own.
func masked(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range [][2]int{{18, 20}, {24, 32}, {92, 96}} {
		clear(b[r[0]:r[1]])
	}
	return b
}

// image is the database at a TXID.
func image(t *testing.T, store storage.Store, txid format.TXID) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.db")
	if _, err := restore.Restore(t.Context(), store, path, restore.Options{TXID: txid}); err != nil {
		t.Fatal(err)
	}
	return masked(t, path)
}

// requireCopy compares a copy with the replica, and has SQLite check it.
func requireCopy(t *testing.T, store storage.Store, path string, txid format.TXID) {
	t.Helper()
	if got := ask(t, path, "PRAGMA integrity_check"); got != "ok" {
		t.Fatalf("integrity_check: %s", got)
	}
	if !bytes.Equal(masked(t, path), image(t, store, txid)) {
		t.Fatalf("the copy is not the database at TXID %s", txid)
	}
}

func ask(t *testing.T, path, sql string) string {
	t.Helper()
	conn, err := sqlite3.Open("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	text, err := first(conn, sql)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// first returns the first column of the first row.
func first(conn *sqlite3.Conn, sql string) (string, error) {
	stmt, _, err := conn.Prepare(sql)
	if err != nil {
		return "", err
	}
	defer stmt.Close()
	stmt.Step()
	return stmt.ColumnText(0), stmt.Err()
}

func tip(t *testing.T, store storage.Store) (newest format.TXID) {
	t.Helper()
	files, err := restore.ListFiles(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		newest = max(newest, f.MaxTXID)
	}
	return newest
}
