package vfs_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	_ "github.com/ncruces/go-sqlite3/driver"

	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
)

// Helpers that package vfstest also needs are in package dbtest.
var (
	memories          = &dbtest.Memories
	newReplica        = dbtest.NewReplica
	newAlias          = dbtest.NewAlias
	uri               = dbtest.URI
	hold              = dbtest.Hold
	down              = dbtest.Down
	open              = dbtest.Open
	exec              = dbtest.Exec
	query             = dbtest.Query
	checkpoint        = dbtest.Checkpoint
	eventually        = dbtest.Eventually
	settled           = dbtest.Settled
	flush             = dbtest.Flush
	statusOf          = dbtest.Status
	restored          = dbtest.Restored
	replicaRows       = dbtest.ReplicaRows
	requireEqual      = dbtest.RequireEqual
	requireIntact     = dbtest.RequireIntact
	lastTXID          = dbtest.LastTXID
	pagesSince        = dbtest.PagesSince
	liveDigest        = dbtest.LiveDigest
	resize            = dbtest.Resize
	save              = dbtest.Save
	newRun            = dbtest.NewRun
	requireBank       = dbtest.RequireBank
	requireEveryTXID  = dbtest.RequireEveryTXID
	requireReplicated = dbtest.RequireReplicated
	hurried           = dbtest.Hurried
	errInjected       = dbtest.ErrInjected
	readFile          = dbtest.ReadFile
	newVFS            = dbtest.NewVFS
	requireForgotten  = dbtest.RequireForgotten
)

const (
	spilling      = dbtest.Spilling
	manyRows      = dbtest.ManyRows
	wholeDatabase = dbtest.WholeDatabase
)

type (
	alias      = dbtest.Alias
	disk       = dbtest.Disk
	run        = dbtest.Run
	replayed   = dbtest.Replayed
	digest     = dbtest.Digest
	syncWriter = dbtest.SyncWriter
	logLines   = dbtest.LogLines
	replicaURL = dbtest.ReplicaURL
)

// faulty returns the URI of a database whose file operations the hooks see.
func faulty(path string, replica fmt.Stringer, hooks *faultHooks, params ...string) string {
	injected.on(path, hooks)
	return strings.Replace(uri(path, replica, params...), "vfs=replicated&", "vfs=replicated-faults&", 1)
}

// lateStore is a store that delays an upload: it stores the upload only when the next
// upload comes.
type lateStore struct {
	alias
	delay   atomic.Bool
	mu      sync.Mutex
	delayed func() error
}

func newLate(t *testing.T, store storage.Store) *lateStore {
	l := &lateStore{alias: newAlias(t, store)}
	memories.Store(strings.TrimPrefix(l.URL, "memory://"), l)
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
