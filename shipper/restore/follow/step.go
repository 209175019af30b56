package follow

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/restore/internal/disk"
)

const (
	// fullEvery is the number of polls without news after which the follower lists all
	// levels, to check that the replica is still the same, and where its snapshots are.
	fullEvery = 300

	// listWithin is how long the follower requests only the next file before it lists level
	// 0: retention may have removed that file first.
	listWithin = 30 * time.Second

	// peekPatience is how long an answer may take: the follower must notice and replace a
	// connection that is silently gone.
	peekPatience = 10 * time.Second

	// mostNews is how many level 0 files the follower applies without looking for a
	// compacted file instead.
	mostNews = 200
)

// step polls, and applies the news. It reports whether to poll again at once.
func (f *follower) step(ctx context.Context) (again bool, err error) {
	if f.state.Next != nil { // a step failed too late to undo it
		if err := f.copy.settle(); err != nil {
			return false, err
		}
		f.report(Status{})
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
			return f.take(ctx, replica.Plan{Apply: news}, false)
		}
	}
	f.full, f.quiet = false, 0
	p, whole, err := f.replan(ctx)
	if err != nil || len(p.Apply) == 0 {
		return false, err
	}
	return f.take(ctx, p, whole)
}

// peek reports whether a listing may contain news. The next file's key is known, and a
// request for it costs a twelfth of a listing.
func (f *follower) peek(ctx context.Context) (bool, error) {
	peeks := max(1, min(30, int(listWithin/f.opts.Interval)))
	next := f.state.At.TXID + 1
	if f.tip >= next || f.quiet%peeks == 0 {
		return true, nil
	}
	soon, cancel := context.WithTimeout(ctx, peekPatience)
	defer cancel()
	there, err := f.from.Exists(soon, format.FileInfo{Level: format.LevelRaw, MinTXID: next, MaxTXID: next})
	if err != nil && soon.Err() != nil && ctx.Err() == nil {
		err = &restore.Error{Op: "poll", Name: f.from.String(), Err: fmt.Errorf("no answer in %s", peekPatience)}
	}
	return there, err
}

// news lists level 0 from the copy's own file on. It is ok if that file still exists, and
// the following files leave no gap.
func (f *follower) news(ctx context.Context) (files []format.FileInfo, ok bool, err error) {
	if any, err := f.peek(ctx); err != nil || !any {
		return nil, true, err
	}
	at := f.state.At
	for file, err := range f.from.ListLevel(ctx, format.LevelRaw, at.TXID) {
		if err != nil {
			return nil, false, err
		}
		info := file.FileInfo
		if info.MinTXID == at.TXID {
			ok = info == at.File.info()
			continue
		}
		f.see(info.MaxTXID, file.Written)
		if info.MinTXID != at.TXID+format.TXID(len(files))+1 || info.MaxTXID != info.MinTXID || len(files) == mostNews || f.isBad(info) {
			return nil, false, nil
		}
		files = append(files, info)
	}
	return files, ok, nil
}

// see records a file that the copy does not have.
func (f *follower) see(txid format.TXID, written time.Time) {
	if f.tip <= f.state.At.TXID || f.since.IsZero() {
		f.since = written
	}
	f.tip = max(f.tip, txid)
}

// take applies a plan. If one of its files is gone or damaged, it reports that the follower
// must poll again at once, and the next step makes another plan.
func (f *follower) take(ctx context.Context, p replica.Plan, whole bool) (again bool, err error) {
	start := time.Now()
	j, err := createJournal(f.path, f.opts.hooks)
	if err != nil {
		return false, err
	}
	defer j.discard()
	files, err := f.fetch(ctx, p, whole, j)
	if bad, ok := errors.AsType[*replica.Damaged](err); ok && !f.isBad(bad.File) {
		f.opts.Logger.Warn("file is damaged, planning without it", "copy", f.path, "key", f.from.Key(bad.File), "error", bad.Err)
		f.bad, f.full = append(f.bad, bad), true
		return true, nil
	}
	if _, gone := errors.AsType[*replica.Missing](err); gone && !f.full {
		f.opts.Logger.Warn("file was removed before it was applied, planning again", "copy", f.path, "error", err)
		f.full = true
		return true, nil
	}
	if err != nil {
		return false, err
	}
	last := files[len(files)-1]
	next := position{
		TXID:     last.Header.MaxTXID,
		Time:     time.UnixMilli(last.Header.Timestamp).UTC(),
		PageSize: last.Header.PageSize,
		Pages:    last.Header.Commit,
		File:     known(last.Info, last.Checksum),
		Anchor:   f.state.At.Anchor,
	}
	if whole && files[0].Info.Level == format.LevelSnapshot {
		next.Anchor = known(files[0].Info, files[0].Checksum)
	}
	if err := f.commit(ctx, j, next); err != nil {
		return false, err
	}
	f.since = time.Time{}
	f.tip = max(f.tip, next.TXID)
	f.full = last.Info.Level != format.LevelRaw // after a compacted file, the next poll lists all levels
	f.report(Status{Files: len(files), Bytes: p.Bytes(), Duration: time.Since(start)})
	return f.tip > next.TXID, nil
}

// commit waits for readers as long as it takes, and lets other readers read meanwhile.
func (f *follower) commit(ctx context.Context, j *journal, next position) error {
	for wait, waiting := firstWait, false; ; wait = min(2*wait, mostWait) {
		err := f.copy.commit(ctx, j, next, wait)
		if !errors.Is(err, errBusy) {
			return err
		}
		if !waiting {
			waiting = true
			f.report(Status{Waiting: true})
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(max(wait, f.opts.Interval)):
		}
	}
}

// fetch writes the pages that a plan changes to a journal.
func (f *follower) fetch(ctx context.Context, p replica.Plan, whole bool, j *journal) ([]restore.Applied, error) {
	at := format.LTXHeader{PageSize: f.state.At.PageSize, Commit: f.state.At.Pages, MaxTXID: f.state.At.TXID}
	if whole {
		at = format.LTXHeader{}
	}
	opts := f.opts.Options.With(f.opts.hooks, disk.Copying{})
	opts.Progress = nil
	return restore.ReadChanges(ctx, f.from, p, at, opts, j)
}

// String describes the copy's state.
func (r Status) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "TXID %s of %s", r.TXID, r.Time.Format(time.RFC3339Nano))
	if n := r.Tip - r.TXID; n > 0 {
		fmt.Fprintf(&b, ", behind by %d and %s", n, r.Behind.Round(time.Second))
	}
	return b.String()
}
