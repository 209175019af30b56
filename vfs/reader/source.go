package reader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
	"weak"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
)

// A source is a replica and the state that the connections of this process share.
type source struct {
	key     sourceKey
	store   storage.Store
	replica *replica.Replica
	pages   pages
	timeout time.Duration
	log     *slog.Logger
	turn    chan struct{} // holds one element while a connection asks for a newer state

	refs int // guarded by sources.mu

	mu     sync.Mutex
	files  map[listedFile]weak.Pointer[file] // the files of views
	swept  int                               // number of files after the last removal of files without views
	unfit  map[listedFile]bool               // files that a whole read found damaged
	latest *view                             // the newest known state, nil before the first answer
	asked  time.Time                         // when the last answered question began
	whole  time.Time                         // when all levels were last listed
	pause  time.Time                         // after a failure: when to ask again
	err    error                             // of the last question, nil if the store answered
}

type sourceKey struct {
	url     string
	storage storage.Options
	timeout time.Duration
	dir     string // of the disk cache, and its size
	size    int64
}

var sources = struct {
	mu   sync.Mutex
	open map[sourceKey]*source
}{open: map[sourceKey]*source{}}

// acquire returns the source of a connection, which must release it.
func acquire(cfg settings) (*source, error) {
	key := sourceKey{cfg.replica, cfg.storage, cfg.timeout, cfg.dir, cfg.size}
	sources.mu.Lock()
	defer sources.mu.Unlock()
	s := sources.open[key]
	if s == nil {
		store, err := storage.Open(context.Background(), cfg.replica, cfg.storage)
		if err != nil {
			return nil, err
		}
		s = newSource(key, store, cfg.logger)
		if s.pages.disk, err = openDisk(cfg.dir, cfg.size, s.log); err != nil {
			store.Close()
			return nil, fmt.Errorf("cache_dir: %w", err)
		}
		sources.open[key] = s
	}
	s.refs++
	s.pages.cache.grow(cfg.memory)
	return s, nil
}

func newSource(key sourceKey, store storage.Store, log *slog.Logger) *source {
	log = log.With("replica", store.String())
	r := replica.New(store, replica.Options{Patience: key.timeout, Logger: log})
	ctx, cancel := context.WithCancel(context.Background())
	return &source{
		key:     key,
		store:   store,
		replica: r,
		pages:   pages{replica: r, timeout: key.timeout, pending: map[frameKey]*call{}, slots: make(chan struct{}, connections), ctx: ctx, cancel: cancel},
		timeout: key.timeout,
		log:     log,
		turn:    make(chan struct{}, 1),
		files:   map[listedFile]weak.Pointer[file]{},
	}
}

func (s *source) release() error {
	sources.mu.Lock()
	s.refs--
	last := s.refs == 0
	if last {
		delete(sources.open, s.key)
	}
	sources.mu.Unlock()
	if !last {
		return nil
	}
	s.pages.cancel()
	s.pages.background.Wait()
	return s.store.Close()
}

// context bounds one wait of SQLite.
func (s *source) context(parent context.Context) (context.Context, context.CancelFunc) {
	return within(parent, s.timeout)
}

// errNoAnswer is the cause of a context that ends because of the store. Any other cause
// is an interrupt.
var errNoAnswer = errors.New("no answer")

func within(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, timeout, fmt.Errorf("%w in %s", errNoAnswer, timeout))
}

func interrupted(ctx context.Context) bool {
	return ctx.Err() != nil && !errors.Is(context.Cause(ctx), errNoAnswer)
}

const (
	// wholeEvery is after how long the source lists all levels, instead of asking for one
	// level 0 file after another: a snapshot may be newer than the view's base, and
	// another program's retention may remove the next file sooner than
	// [shipper.LeastKeepRaw].
	wholeEvery = 2 * time.Minute

	// listWithin is after how long without a question the source lists level 0, instead
	// of asking for the next file only: retention may have removed that file.
	listWithin = time.Minute

	// mostNews is how many level 0 files the source adds without looking for compacted
	// files that replace them.
	mostNews = 100

	// mostFiles is how many files a view has at most before all levels are planned again.
	mostFiles = 1000

	// askTimeout bounds a question for a newer state. Without an answer, a transaction
	// continues with the known state.
	askTimeout = 10 * time.Second

	// mostPause bounds the pause after a failed question.
	mostPause = time.Minute
)

// newest returns the newest state, as of an interval ago or later. If the store does not
// answer, newest returns the newest known state, and keeps the error.
func (s *source) newest(ctx context.Context, interval time.Duration) (*view, error) {
	arrived := time.Now()
	if v := s.fresh(arrived.Add(-interval)); v != nil {
		return v, nil
	}
	soon, cancel := within(ctx, askTimeout)
	defer cancel()
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-soon.Done():
		if interrupted(ctx) {
			return nil, context.Cause(ctx)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.latest != nil {
			return s.latest, nil
		}
		return nil, errBusy
	}
	if v := s.fresh(arrived.Add(-interval)); v != nil {
		return v, nil // another connection has asked
	}
	return s.askNow(ctx, interval)
}

var errBusy = errors.New("another connection waits for the first answer of the replica")

// fresh returns the newest known state if the store has answered a question asked after
// since, or during a pause.
func (s *source) fresh(since time.Time) *view {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.latest != nil && (s.asked.After(since) || time.Now().Before(s.pause)) {
		return s.latest
	}
	return nil
}

// askNow asks the store, in the caller's turn.
func (s *source) askNow(ctx context.Context, interval time.Duration) (*view, error) {
	s.mu.Lock()
	known := s.latest
	s.mu.Unlock()
	begin := time.Now()
	var next *view
	var err error
	if known == nil {
		next, err = s.first(ctx)
	} else {
		soon, cancel := within(ctx, askTimeout)
		next, err = s.ask(soon, known)
		cancel()
	}
	if err != nil && interrupted(ctx) {
		return nil, err // an interrupt says nothing about the store
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && s.err != nil {
		s.log.Info("the replica answers again")
	}
	s.err = err
	switch {
	case err == nil:
		s.latest, s.asked = next, begin
		return next, nil
	case known == nil:
		return nil, err
	}
	s.pause = time.Now().Add(min(mostPause, max(interval, 10*time.Since(begin))))
	s.log.Warn("reading a newer state failed; continuing with the known state", "txid", known.txid, "error", err)
	return known, nil
}

func (s *source) first(ctx context.Context) (*view, error) {
	v, err := s.at(ctx, replica.Target{})
	if err == nil {
		s.listedAll()
	}
	return v, err
}

func (s *source) listedAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.whole = time.Now()
}

// ask returns the state after v, or v if the replica has no newer state. The key of the
// file with the next TXID is known: asking for it costs less than a listing.
func (s *source) ask(ctx context.Context, v *view) (*view, error) {
	s.mu.Lock()
	asked, whole := s.asked, s.whole
	s.mu.Unlock()
	if time.Since(asked) < listWithin && time.Since(whole) < wholeEvery {
		there, err := s.replica.Exists(ctx, format.FileInfo{Level: format.LevelRaw, MinTXID: v.txid + 1, MaxTXID: v.txid + 1})
		if err != nil || !there {
			return v, err
		}
		if len(v.files) < mostFiles {
			next, err := s.extend(ctx, v)
			if next != nil || err != nil {
				return next, err
			}
		}
	}
	return s.replan(ctx, v)
}

// extend adds the level 0 files that follow a view. It returns nil if they do not simply
// follow: the caller then lists all levels.
func (s *source) extend(ctx context.Context, v *view) (*view, error) {
	if v.raw.MaxTXID == 0 {
		return nil, nil
	}
	news, err := replica.Collect(s.replica.ListLevel(ctx, format.LevelRaw, v.txid))
	if err != nil {
		return nil, err
	}
	if len(news) == 0 || news[0].FileInfo != v.raw || len(news) > mostNews {
		return nil, nil
	}
	files, err := s.loadAll(ctx, news, news[1:].Infos())
	if _, bad := badFile(err); bad {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if v.precedes(f) != nil {
			return nil, nil
		}
		v = v.with(f)
	}
	return v, nil
}

// replan lists all levels, and plans from a snapshot on.
func (s *source) replan(ctx context.Context, v *view) (*view, error) {
	files, err := s.replica.Files(ctx)
	if err != nil {
		return nil, err
	}
	switch newest := files.Newest(); {
	case newest < v.txid:
		return nil, s.replica.PlanError(fmt.Errorf("its newest file is TXID %s, after TXID %s was read: the replica was replaced, or files were removed", newest, v.txid))
	case newest == v.txid:
		s.listedAll()
		return v, nil
	}
	next, err := s.build(ctx, files, 0)
	if err == nil {
		s.listedAll()
	}
	return next, err
}

// readPage reads a page of a view into page. If files of the view are damaged or gone, it
// replaces the view with another view of the same TXID.
func (s *source) readPage(ctx context.Context, v **view, pgno uint32, page []byte) error {
	for out := []format.FileInfo(nil); ; {
		err := s.pages.read(ctx, *v, pgno, page)
		if err == nil {
			return nil
		}
		bad, ok := badFile(err)
		if !ok {
			return err
		}
		out = append(out, bad)
		next, err := s.heal(ctx, *v, out, err)
		if err != nil {
			return err
		}
		*v = next
	}
}

// heal returns a view of the same TXID without the files that reads found damaged or
// gone; bad is the error of the last such file. Connections that find the same files
// share the new view.
func (s *source) heal(ctx context.Context, v *view, out []format.FileInfo, bad error) (*view, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, bad
	}
	s.mu.Lock()
	latest := s.latest
	s.mu.Unlock()
	if latest != nil && latest != v && latest.txid == v.txid && !slices.ContainsFunc(out, latest.uses) {
		return latest, nil
	}
	files, err := s.replica.Files(ctx)
	if err != nil && !errors.Is(err, replica.ErrNone) {
		return nil, errors.Join(bad, err)
	}
	next, err := s.build(ctx, files.Without(out...), v.txid)
	if e, ok := errors.AsType[*storage.Error](err); ok && e.Op != "plan" && !isBad(err) {
		return nil, errors.Join(bad, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w; %w %s (begin a new transaction)", bad, errNoOthers, v.txid)
	}
	s.log.Warn("replica file cannot be used, reading other files", "error", bad)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.latest == v {
		s.latest = next
	}
	return next, nil
}

var errNoOthers = errors.New("no other files lead to TXID")

// uses reports whether a view contains a file.
func (v *view) uses(info format.FileInfo) bool {
	return slices.ContainsFunc(v.files, func(f *file) bool { return f.info == info })
}
