package vfs_test

import (
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// A ledger is a replica that records the newest user_version that it holds, and that
// sometimes fails, waits and loses answers while it is stormy.
type ledger struct {
	alias
	memory *storagetest.Memory
	begun  time.Time
	held   atomic.Uint32
	stormy atomic.Bool

	mu  sync.Mutex
	rng *rand.Rand
}

func newLedger(t *testing.T, seed uint64) *ledger {
	memory := newReplica(t)
	l := &ledger{alias: newAlias(t, memory), memory: memory, begun: time.Now(), rng: rand.New(rand.NewPCG(seed, 1))}
	memories.Store(strings.TrimPrefix(l.URL, "memory://"), l)
	return l
}

// fault decides whether a request, or its answer, fails.
func (l *ledger) fault() error {
	const squall = 700 * time.Millisecond
	if !l.stormy.Load() || time.Since(l.begun)%squall < squall/2 {
		return nil
	}
	l.mu.Lock()
	n, delay := l.rng.IntN(100), time.Duration(l.rng.IntN(20))*time.Millisecond
	l.mu.Unlock()
	time.Sleep(delay)
	if n < 20 {
		return errInjected
	}
	return nil
}

func (l *ledger) Create(ctx context.Context, key string, body storage.Body, attrs storage.Attrs) error {
	if err := l.fault(); err != nil {
		return err
	}
	if err := l.alias.Create(ctx, key, body, attrs); err != nil {
		return err
	}
	if f, ok := l.Layout().Parse(key); ok && f.Level == format.LevelRaw {
		format.Decode(io.NewSectionReader(body, 0, body.Size()), func(_ format.LTXHeader, pgno uint32, page []byte) error {
			if pgno == 1 {
				// https://sqlite.org/fileformat2.html#user_version_number
				l.held.Store(binary.BigEndian.Uint32(page[60:]))
			}
			return nil
		})
	}
	return l.fault()
}

func (l *ledger) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, storage.Attrs, error) {
	if err := l.fault(); err != nil {
		return nil, storage.Attrs{}, err
	}
	return l.alias.Open(ctx, key, offset, length)
}
