package vfs

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/shipping"
)

// MaxWALGrowth is how much the WAL may grow, in bytes, while commits wait for a replica
// that acknowledges nothing. A waiting commit keeps its read mark, so that the WAL cannot
// start over and grows with every other commit. Beyond that, commits fail with
// [ErrUnconfirmed], and no commit waits until the WAL has started over or the replica has
// acknowledged an upload.
const MaxWALGrowth = 64 << 20

// growthCheck is how often a waiting commit checks the size of the WAL.
const growthCheck = 100 * time.Millisecond

var errWALGrowth = fmt.Errorf("the WAL has grown by more than %d MiB while commits wait", MaxWALGrowth>>20)

// pinned measures how much the WAL has grown while commits wait without a break, each
// beginning before the last one ends, and the replica has acknowledged nothing.
type pinned struct {
	mu      sync.Mutex
	waiting int
	from    shipping.Commit // where the WAL ended when the measurement began, or began again
	tip     format.TXID     // the replica's tip at that time
	full    bool
}

// while returns a context for a commit that waits, until done is called. The context ends
// when the WAL has grown too much.
func (p *pinned) while(ctx context.Context, d *database) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	if err := p.enter(d.end(), d.ship.Tip().TXID); err != nil {
		cancel(err)
		return ctx, func() {}
	}
	go func() {
		t := time.NewTicker(growthCheck)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				if err := p.check(d.end(), d.ship.Tip().TXID); err != nil {
					cancel(err)
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, func() {
		p.mu.Lock()
		p.waiting--
		p.mu.Unlock()
		cancel(nil)
	}
}

// enter adds a waiting commit. It fails if the WAL has already grown too much.
func (p *pinned) enter(end shipping.Commit, tip format.TXID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting == 0 && !p.full {
		p.from, p.tip = end, tip
	}
	if err := p.grown(end, tip); err != nil {
		return err
	}
	p.waiting++
	return nil
}

func (p *pinned) check(end shipping.Commit, tip format.TXID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.grown(end, tip)
}

// grown fails if the WAL has grown too much. p.mu must be held.
func (p *pinned) grown(end shipping.Commit, tip format.TXID) error {
	if end.Salt != p.from.Salt || tip != p.tip {
		p.from, p.tip, p.full = end, tip, false
	}
	p.full = p.full || end.End-p.from.End > MaxWALGrowth
	if p.full {
		return errWALGrowth
	}
	return nil
}
