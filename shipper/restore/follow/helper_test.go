package follow_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/restore/follow"
	"github.com/walvfs/walvfs/shipper/restore/internal/followtest"
	"github.com/walvfs/walvfs/shipper/storage"
	_ "github.com/walvfs/walvfs/shipper/storage/file"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs"
)

func TestMain(m *testing.M) { os.Exit(storagetest.InMemory(m).Run()) }

// Package followtest holds the helpers that the tests against real stores need, too.
var (
	runFollow   = followtest.Follow
	eventually  = followtest.Eventually
	newReading  = followtest.NewReading
	bankSchema  = followtest.BankSchema
	transfer    = followtest.Transfer
	manyRows    = followtest.ManyRows
	masked      = followtest.Masked
	image       = followtest.Image
	requireCopy = followtest.RequireCopy
	ask         = followtest.Ask
	first       = followtest.First
	tip         = followtest.Tip
)

const schema = followtest.Schema

type copyReader = followtest.CopyReader

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
		if err := flush(l.t.Context(), l.path); err != nil {
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

// hidingStore hides some files, and counts requests.
type hidingStore struct {
	storage.Store
	mu           sync.Mutex
	hide         func(format.FileInfo) bool // guarded by mu
	gone         func(format.FileInfo) bool // guarded by mu; listed, but removed when opened
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

// forced replaces an existing file at the path.
var forced = follow.Options{Options: restore.Options{Force: true}}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// flush uploads the commits of an open database so far to its replica.
func flush(ctx context.Context, path string) error {
	db, err := vfs.Lookup(path)
	if err != nil {
		return err
	}
	return db.Flush(ctx)
}
