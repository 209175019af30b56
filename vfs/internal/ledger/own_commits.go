package ledger

import "sync/atomic"

// ownCommits is what the connections of this process have committed. Each tells its
// own, without a lock.
type ownCommits struct {
	count atomic.Uint32 // of successes
	size  atomic.Uint32 // of the database by the newest commit frame, or by the index at a later reset, in pages, 0 for none
	least atomic.Uint32 // of the sizes by those that made it smaller since a reset, 0 for none
}

// sized is told of a commit frame, whether or not it becomes a commit.
func (o *ownCommits) sized(size uint32) {
	before := o.size.Load()
	if size == before {
		return
	}
	o.size.Store(size)
	if size > before && before != 0 {
		return
	}
	for {
		least := o.least.Load()
		if least != 0 && least <= size || o.least.CompareAndSwap(least, size) {
			return
		}
	}
}

// A tally is two counts of commits that can be compared at a reset: a connection that
// has committed and does not know yet holds a read mark, and there is no reset. After a
// failed sync, SQLite may call a success what was none; sizes depend on the counts, and
// pages do not.
type tally struct {
	known bool
	all   uint32 // by anybody, as the WAL index counts
	own   uint32 // by this process
}

// Committed is told of each success of a connection of this process.
func (l *Ledger) Committed() { l.own.count.Add(1) }

// Sized is told of each commit frame that a connection of this process writes, whether
// or not it becomes a commit.
func (l *Ledger) Sized(pages uint32) { l.own.sized(pages) }
