// Package shipping turns the commits of a database into files in an object store.
//
// The bucket is a linear log. A level 0 file holds exactly one TXID, so its key
// is known before the file is written. The file is created with put-if-absent: of two
// writers, one gets the next TXID and the other is fenced.
//
//	commit ─Wake─▶ cut ─▶ spool ─▶ Create TXID n ─▶ acknowledge ─▶ cut …
//	                                 │ exists                ▲
//	                                 ▼                       │ ours
//	                               read it back ─────────────┤
//	                                                         ▼ foreign
//	                                                       fenced
//
// A database has one upload of level 0 in flight. Commits that arrive meanwhile go into
// the next cut, so a higher load makes uploads larger, not more frequent. The first commit
// after an idle period uploads at once; after that, there is at most one upload per interval.
// Without commits, and once its levels are up to date, a database has no goroutine, no timer
// and no requests.
//
// A file of a higher level holds the pages that changed since the level's last file. It is
// cut together with a level 0 file, at the same boundary. If its pages are many, they are
// copied before, so that the cut is short. It is uploaded after the level 0 file is
// acknowledged, while further commits are shipped. Then retention deletes files that
// are no longer kept:
//
//	level 0   1 2 3 4 5 6 7 8 9 …       each commit, or batch of commits
//	level 1       1…3     4…6           every 30 s
//	level 2               1…6           every 5 min
//	level 9                 snapshot    every 24 h
//
// A shipper has one queue of jobs: level 0, each higher level, learning what the levels
// lack of earlier runs, checking that the replica still exists, and retention. Each job
// has its own time and its own pauses after a failure, and no job waits for another job,
// except that a file of a higher level needs a cut of level 0, whose boundary it shares.
//
// Callers that wait for the replica share uploads, and the databases of a bucket take
// turns.
//
// If the outcome of an upload is unknown, the shipper finds it out before it cuts again:
// it sends the same bytes under the same key until the store says that this file, or a
// file of another writer, exists.
package shipping

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
)

// Options configure a [Shipper]. Zero values are usable.
type Options struct {
	NodeID   uint64        // of this copy of the database, written into each file
	Interval time.Duration // at most one upload in this time
	SpoolDir string        // for files too large for memory; "" is the system's directory
	Unfenced bool          // accept a store that cannot tell two writers apart
	Policy   Policy        // of higher levels and of retention
	Logger   *slog.Logger
	Events   func(shipper.Event) // receives each event, if not nil
}

// A Shipper ships one database to one replica. Its methods are safe for
// concurrent use.
type Shipper struct {
	source  Source
	store   *meter
	replica *replica.Replica // reads the store
	opts    Options
	log     *slog.Logger

	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	queue  *queue
	raw    *job // level 0
	levels *levels
	turns  *turns

	noted      atomic.Bool  // level 0 is due because of a commit
	finishing  atomic.Int32 // callers of Finish that wait for level 0
	compacting atomic.Int32 // callers of Compact
	lost       atomic.Bool  // the bucket was gone; if it comes back, its content is unknown
	lag        lag
	cuts       atomic.Uint64 // cuts begun
	fenced     atomic.Bool   // halted, because another writer has, or may have, the replica

	mu       sync.Mutex
	over     error // why shipping has ended
	waiters  map[*waiter]struct{}
	acked    Commit        // the newest cut that the replica has, and its end
	crowd    int           // callers that waited at the last answer, 0 if it was for at most one
	ackedAt  time.Time     // when it was acknowledged
	lastSent time.Time     // when the newest upload began
	lastTook time.Duration // and how long it took
	wholes   int           // large uploads of the whole database in a row
	sending  *spool        // the file that is being uploaded
	status   shipper.Status

	// Used only by the job of level 0.
	recognized bool
	tip        shipper.Position
	pending    *upload
	newestAt   time.Time                // when no other writer was known to be ahead
	levelCut   atomic.Pointer[levelCut] // levels whose pages are copied ahead, nil for none
}

// New returns a shipper. It does nothing until [Shipper.Wake] is called.
func New(source Source, store storage.Store, opts Options) *Shipper {
	opts.Policy.KeepRaw = max(opts.Policy.KeepRaw, LeastKeepRaw)
	s := &Shipper{
		source:  source,
		store:   &meter{Store: store},
		opts:    opts,
		log:     opts.Logger,
		turns:   turnsOf(store),
		waiters: map[*waiter]struct{}{},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.replica = replica.New(s.store, replica.Options{})
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.status.State, s.status.Unfenced = shipper.Starting, opts.Unfenced
	s.queue = newQueue(s.ctx, func() { s.source.Rest() })
	s.raw = s.queue.add(s.rawJob())
	s.levels = s.newLevels()
	return s
}

var start = time.Now()

// sinceStart returns the time of a monotonic clock that fits an atomic, never 0.
func sinceStart() int64 { return int64(time.Since(start)) | 1 }

// Wake notes that a transaction may have been committed. It does not block, and allocates
// only when it begins a run.
func (s *Shipper) Wake() {
	s.lag.note()
	s.Look()
}

// Note notes a commit that cannot be shipped yet: the lag counts from now. It does not
// block.
func (s *Shipper) Note() { s.lag.note() }

// Look is Wake without a known commit.
func (s *Shipper) Look() {
	if !s.noted.Load() && !s.noted.Swap(true) {
		s.raw.due(s.soonest())
	}
}

// Retry ends a pause after a failure whose cause may be gone. It does not block.
func (s *Shipper) Retry() {
	s.mu.Lock()
	retrying := s.status.State == shipper.Retrying
	s.mu.Unlock()
	if retrying {
		s.raw.hurry(time.Now())
	}
	s.Look()
}

// Close stops shipping at once: commits that the replica has not acknowledged stay
// unshipped. It returns when no goroutine runs any more.
func (s *Shipper) Close() error {
	s.cancel()
	s.queue.stop()
	s.queue.running.Wait()
	s.settle() // gives up the upload that they wait for
	s.queue.beside.Wait()
	s.levels.close()
	s.dropLevelCut()
	s.finish(shipper.ErrClosed)
	return nil
}

// finish ends all waits, now and in the future, with err.
func (s *Shipper) finish(err error) {
	s.mu.Lock()
	if s.over == nil {
		s.over = err
	}
	s.mu.Unlock()
	s.answer(Commit{By: math.MaxUint64}, err)
}
