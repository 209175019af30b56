package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"golang.org/x/sync/errgroup"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
)

const (
	// fullEvery is after how many polls without news all levels are listed: to see
	// that the replica is still the same, and where its snapshots are.
	fullEvery = 300

	// listWithin is after how long of asking for the next file only, level 0 is listed:
	// retention may have removed that file before it was asked for.
	listWithin = 30 * time.Second

	// peekPatience is how long an answer may take: a connection that is silently gone is
	// to be noticed, and replaced.
	peekPatience = 10 * time.Second

	// mostNews is how many level 0 files are applied without looking for a compacted
	// one in their place.
	mostNews = 200
)

// step polls, and applies what there is. It reports whether to poll again at once.
func (f *follower) step(ctx context.Context) (again bool, err error) {
	if f.state.Next != nil { // a step failed when it was too late to undo it
		if err := f.copy.settle(); err != nil {
			return false, err
		}
		f.report(Followed{})
	}
	if !f.full {
		news, ok, err := f.news(ctx)
		if err != nil {
			return false, err
		}
		if ok && len(news) == 0 {
			f.quiet++
			f.full = f.quiet >= fullEvery
			return false, nil
		}
		if ok {
			return f.take(ctx, plan{files: news, listed: news}, false)
		}
	}
	f.full, f.quiet = false, 0
	p, whole, err := f.replan(ctx)
	if err != nil || len(p.files) == 0 {
		return false, err
	}
	return f.take(ctx, p, whole)
}

// peek reports whether a listing may tell news. What comes next has a key that is
// known, and to ask for it costs a twelfth of a listing.
func (f *follower) peek(ctx context.Context) (bool, error) {
	peeks := max(1, min(30, int(listWithin/f.opts.Interval)))
	next := f.state.At.TXID + 1
	if f.tip >= next || f.quiet%peeks == 0 {
		return true, nil
	}
	soon, cancel := context.WithTimeout(ctx, peekPatience)
	defer cancel()
	r, _, err := f.store.Open(soon, f.store.Layout().Key(format.LevelRaw, next, next), 0, 1)
	switch {
	case errors.Is(err, storage.ErrNotExist):
		return false, nil
	case err != nil && soon.Err() != nil && ctx.Err() == nil:
		return false, &Error{Op: "poll", Name: f.store.String(), Err: fmt.Errorf("no answer in %s", peekPatience)}
	case err != nil:
		return false, err
	}
	return true, r.Close()
}

// news lists level 0 from the copy's own file on. It is ok if that is still there,
// and what follows leaves nothing out.
func (f *follower) news(ctx context.Context) (files []format.FileInfo, ok bool, err error) {
	if any, err := f.peek(ctx); err != nil || !any {
		return nil, true, err
	}
	at, layout := f.state.At, f.store.Layout()
	dir := layout.Dir(format.LevelRaw)
	// The own file's key comes after its first half: "MIN" before "MIN-MAX.ltx".
	for obj, err := range f.store.List(ctx, dir, dir+at.TXID.String()) {
		if err != nil {
			return nil, false, err
		}
		info, isFile := layout.Parse(obj.Key)
		info.Size = obj.Size
		switch {
		case !isFile:
		case info.MinTXID == at.TXID:
			ok = info == at.File.info()
		case info.MinTXID != at.TXID+format.TXID(len(files))+1 || info.MaxTXID != info.MinTXID || len(files) == mostNews:
			f.see(info.MaxTXID, obj.ModTime)
			return nil, false, nil
		default:
			f.see(info.MaxTXID, obj.ModTime)
			files = append(files, info)
		}
	}
	return files, ok, nil
}

// see notes a file that the copy does not have.
func (f *follower) see(txid format.TXID, written time.Time) {
	if f.tip <= f.state.At.TXID || f.since.IsZero() {
		f.since = written
	}
	f.tip = max(f.tip, txid)
}

// take applies a plan. If a file of it is gone, another plan is to be made.
func (f *follower) take(ctx context.Context, p plan, whole bool) (again bool, err error) {
	start := time.Now()
	j, err := createJournal(f.path+applySuffix, f.opts.hooks)
	if err != nil {
		return false, err
	}
	defer j.discard()
	files, err := f.fetch(ctx, p, whole, j)
	f.anew = !whole && errors.Is(err, format.ErrCorrupt) // a snapshot may lead past it
	if _, gone := goneKey(err); gone && !f.full {
		f.opts.Logger.Warn("a file was removed before it was applied, planning again", "copy", f.path, "error", err)
		f.full = true
		return true, nil
	}
	if err != nil {
		return false, err
	}
	last := files[len(files)-1]
	next := position{
		TXID:     last.header.MaxTXID,
		Time:     time.UnixMilli(last.header.Timestamp).UTC(),
		PageSize: last.header.PageSize,
		Pages:    last.header.Commit,
		File:     known(last.info, last.checksum),
		Anchor:   f.state.At.Anchor,
	}
	if whole && files[0].info.Level == format.LevelSnapshot {
		next.Anchor = known(files[0].info, files[0].checksum)
	}
	if err := f.commit(ctx, j, next); err != nil {
		return false, err
	}
	f.since = time.Time{}
	f.tip = max(f.tip, next.TXID)
	f.full = last.info.Level != format.LevelRaw // for what the next poll begins with
	f.report(Followed{Files: len(files), Bytes: sum(p.files), Duration: time.Since(start)})
	return f.tip > next.TXID, nil
}

// commit waits for readers as long as it takes, and lets others read meanwhile.
func (f *follower) commit(ctx context.Context, j *journal, next position) error {
	for wait, waiting := firstWait, false; ; wait = min(2*wait, mostWait) {
		err := f.copy.commit(ctx, j, next, wait)
		if !errors.Is(err, errBusy) {
			return err
		}
		if !waiting {
			waiting = true
			f.report(Followed{Waiting: true})
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(max(wait, f.opts.Interval)):
		}
	}
}

// fetch writes the pages that a plan changes to a journal, each of them once, from
// the newest file that has it, as [applyPlan] does.
func (f *follower) fetch(parent context.Context, p plan, whole bool, j *journal) ([]*file, error) {
	opts := f.opts.Options
	fail := func(i int, err error) error { return p.fileError(f.store, i, err) }
	open := func(ctx context.Context, piece *piece) io.ReadCloser {
		return newResumer(ctx, f.store, p.files[piece.file], opts.Logger).within(piece.offset, piece.size)
	}
	cores := runtime.GOMAXPROCS(0)
	batches := make(chan *batch, cores)
	tracker := newTracker(p.files, nil, fail)
	claimed := roaring.New()
	g, ctx := errgroup.WithContext(parent)
	fetcher := newFetcher(p.files, opts, open, fail)
	splitter := &splitter{ctx: ctx, tracker: tracker, batches: batches, claimed: claimed}
	// The splitter knows it before it sends the first batch, and leaves it be.
	j.pageSize = func() int { return int(splitter.newest.PageSize) }
	db := newDatabase(j, f.path+applySuffix)
	g.Go(func() error { return fetcher.run(ctx, g) })
	g.Go(func() error { return splitter.run(fetcher.pieces) })
	for range cores {
		g.Go(func() error { return newWorker(db, tracker).work(ctx, batches) })
	}
	if err := g.Wait(); err != nil {
		if parent.Err() != nil {
			err = context.Cause(parent)
		}
		return nil, err
	}
	return tracker.files, f.checkFetched(tracker.files, whole, claimed.GetCardinality())
}

// checkFetched checks that files make a whole database, by themselves or with the
// copy as it is.
func (f *follower) checkFetched(files []*file, whole bool, pages uint64) error {
	last := files[len(files)-1].header
	if !whole {
		at := f.state.At
		before := &file{header: format.LTXHeader{PageSize: at.PageSize, Commit: at.Pages, MaxTXID: at.TXID}}
		for _, next := range files {
			if err := next.follows(before); err != nil {
				return next.fail(err)
			}
			before = next
		}
		whole = last.PageSize != at.PageSize
	} else if err := checkChain(files); err != nil {
		return err
	}
	want := uint64(last.Commit)
	if last.Commit >= format.LockPage(last.PageSize) {
		want--
	}
	if whole && pages != want {
		return fmt.Errorf("restore: %d pages are to be written, of %d: this is a bug", pages, want)
	}
	return nil
}

// String says where the copy is.
func (r Followed) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "TXID %s of %s", r.TXID, r.Time.Format(time.RFC3339))
	if n := r.Tip - r.TXID; n > 0 {
		fmt.Fprintf(&b, ", behind by %d and %s", n, r.Behind.Round(time.Second))
	}
	return b.String()
}
