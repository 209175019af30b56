package ledger

import "sync/atomic"

// ownCommits counts the commits of this process's connections. Each connection reports
// its own, without a lock.
type ownCommits struct {
	count atomic.Uint32 // of successful commits
	size  atomic.Uint32 // of the database in pages, by the newest commit frame, or by the index at a later reset, 0 for none
	least atomic.Uint32 // the smallest size to which a commit frame shrank the database since a reset, 0 for none
}

// sized notes a commit frame, whether or not it becomes a commit.
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

// A tally is two counts of commits that can be compared at a reset: a connection that has
// committed, but has not yet counted it, holds a read mark, so there is no reset. After a
// failed sync, SQLite may report a success for a commit that failed; only sizes depend on
// the counts, pages do not.
type tally struct {
	known bool
	all   uint32 // by all processes, as the WAL index counts
	own   uint32 // by this process
}

// Committed counts a successful commit of a connection of this process.
func (l *Ledger) Committed() { l.own.count.Add(1) }

// Sized notes a commit frame that a connection of this process writes, whether or not it
// becomes a commit.
func (l *Ledger) Sized(pages uint32) { l.own.sized(pages) }
