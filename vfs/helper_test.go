package vfs_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"
	_ "github.com/ncruces/go-sqlite3/driver"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs"
)

// Replicas in memory, by the host of their URL, or by its host and path.
var memories sync.Map

func init() {
	storage.Register("memory", func(_ context.Context, u *url.URL, _ storage.Options) (storage.Store, error) {
		store, ok := memories.Load(u.Host)
		if !ok {
			store, ok = memories.Load(u.Host + u.Path)
		}
		if !ok {
			return nil, fmt.Errorf("no memory store %s", u.Host+u.Path)
		}
		return store.(storage.Store), nil
	})
}

// newReplica returns an empty replica whose String is its URL.
func newReplica(t *testing.T) *storagetest.Memory {
	m := &storagetest.Memory{Name: strings.ToLower(rand.Text())}
	memories.Store(m.Name, m)
	t.Cleanup(func() { memories.Delete(m.Name) })
	return m
}

// alias is a replica as another machine sees it. In one process, each database
// needs a URL of its own.
type alias struct {
	storage.Store
	url string
}

func (a alias) String() string { return a.url }

func newAlias(t *testing.T, store storage.Store) alias {
	name := strings.ToLower(rand.Text())
	a := alias{store, "memory://" + name}
	memories.Store(name, a)
	t.Cleanup(func() { memories.Delete(name) })
	return a
}

// uri returns the URI of a database with a replica and more parameters.
func uri(path string, replica fmt.Stringer, params ...string) string {
	u := "file:" + path + "?vfs=replicated&interval=0s&replica=" + url.QueryEscape(replica.String())
	return strings.Join(append([]string{u}, params...), "&")
}

// faulty returns the URI of a database whose file operations the hooks see.
func faulty(path string, replica fmt.Stringer, hooks *faultHooks, params ...string) string {
	injected.on(path, hooks)
	return strings.Replace(uri(path, replica, params...), "vfs=replicated&", "vfs=replicated-faults&", 1)
}

// hold makes uploads to a replica wait, from now on. It commits something and
// returns once that is cut and on its way. Release lets it and all others through.
func hold(t *testing.T, m *storagetest.Memory, conn *sqlite3.Conn) (release func()) {
	t.Helper()
	held, started := make(chan struct{}), make(chan struct{})
	release = sync.OnceFunc(func() { close(held) })
	start := sync.OnceFunc(func() { close(started) })
	m.SetBefore(func(ctx context.Context, op, key string) error {
		if op == "create" {
			start()
			select {
			case <-held:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	t.Cleanup(release)
	exec(t, conn, "CREATE TABLE held (x)")
	<-started
	return release
}

// eventually waits for a condition without waking the shipper.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so: %s", what)
		}
	}
}

func open(t *testing.T, uri string) *sqlite3.Conn {
	t.Helper()
	conn, err := sqlite3.Open(uri)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func exec(t *testing.T, conn *sqlite3.Conn, sql ...string) {
	t.Helper()
	for _, q := range sql {
		if err := conn.Exec(q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

// query returns the first column of the first row as text.
func query(t *testing.T, conn *sqlite3.Conn, sql string) string {
	t.Helper()
	stmt, _, err := conn.Prepare(sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	defer stmt.Close()
	text := ""
	if stmt.Step() {
		text = stmt.ColumnText(0)
	}
	if err := stmt.Err(); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return text
}

// settled waits until the replica has everything that was committed, and returns
// its tip.
func settled(t *testing.T, path string) format.TXID {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := vfs.Flush(ctx, path); err != nil {
		st, _ := vfs.Status(path)
		t.Fatalf("the replica does not catch up: %v (%+v)", err, st)
	}
	st, _ := vfs.Status(path)
	return st.Tip.TXID
}

// restored restores a TXID, 0 for the newest, and opens it.
func restored(t *testing.T, store storage.Store, txid format.TXID) (string, *sqlite3.Conn) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "restored.db")
	if _, err := restore.Restore(t.Context(), store, path, restore.Options{TXID: txid}); err != nil {
		t.Fatalf("restore TXID %s: %v", txid, err)
	}
	conn := open(t, "file:"+path)
	if got := query(t, conn, "PRAGMA integrity_check"); got != "ok" {
		t.Fatalf("TXID %s: integrity_check: %s", txid, got)
	}
	return path, conn
}

// requireEqual fails unless the replica restores to the same bytes as the database
// file has, after everything in its WAL was checkpointed into it.
func requireEqual(t *testing.T, store storage.Store, path string) {
	t.Helper()
	if _, err := os.Stat(path + "-wal"); err == nil {
		plain := open(t, "file:"+path)
		exec(t, plain, "PRAGMA wal_checkpoint(TRUNCATE)")
		plain.Close()
	}
	live, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	if _, err := restore.Restore(t.Context(), store, copied, restore.Options{}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(copied)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(live) {
		t.Fatalf("restored %d bytes, the database has %d", len(got), len(live))
	}
	size := int(live[16])<<8 | int(live[17])
	if size == 1 {
		size = 65536
	}
	for off := 0; off < len(live); off += size {
		if !bytes.Equal(got[off:off+size], live[off:off+size]) {
			t.Errorf("page %d differs", off/size+1)
		}
	}
}

// lastTXID returns the newest TXID that a replica holds.
func lastTXID(t *testing.T, store storage.Store) (last format.TXID) {
	t.Helper()
	files, err := restore.ListFiles(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		last = max(last, f.MaxTXID)
	}
	return last
}

func countRequests(n *atomic.Int64) func(context.Context, string, string) error {
	return func(context.Context, string, string) error {
		n.Add(1)
		return nil
	}
}

// syncWriter makes a writer safe for concurrent use.
type syncWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *syncWriter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}

// lateStore is a store that loses an upload, and has it after all when the next
// one comes.
type lateStore struct {
	alias
	delay   atomic.Bool
	mu      sync.Mutex
	delayed func() error
}

func newLate(t *testing.T, store storage.Store) *lateStore {
	l := &lateStore{alias: newAlias(t, store)}
	memories.Store(strings.TrimPrefix(l.url, "memory://"), l)
	return l
}

func (l *lateStore) Create(ctx context.Context, key string, body storage.Body, attrs storage.Attrs) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.delay.Load() && strings.HasSuffix(key, ".ltx") {
		b, err := io.ReadAll(io.NewSectionReader(body, 0, body.Size()))
		if err != nil {
			return err
		}
		l.delayed = func() error { return l.alias.Create(context.Background(), key, bytes.NewReader(b), attrs) }
		return context.DeadlineExceeded
	}
	if l.delayed != nil {
		if err := l.delayed(); err != nil {
			return err
		}
		l.delayed = nil
	}
	return l.alias.Create(ctx, key, body, attrs)
}

// checkpoint checkpoints everything, however often a cut stops it.
func checkpoint(t *testing.T, conn *sqlite3.Conn, mode sqlite3.CheckpointMode) {
	t.Helper()
	eventually(t, "everything is checkpointed", func() bool {
		frames, done, err := conn.WALCheckpoint("main", mode)
		if err != nil && !errors.Is(err, sqlite3.BUSY) {
			t.Fatal(err)
		}
		return err == nil && frames == done
	})
}
