package shipping

import (
	"context"
	"fmt"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/replica"
)

// list lists every file of the replica. It reports required files that are missing, and
// makes a snapshot due that replaces them.
func (s *Shipper) list(ctx context.Context) (replica.Files, error) {
	had := s.Tip().TXID
	asked := s.levels.listing(had)
	files, err := s.listOnce(ctx)
	if err == nil && !leads(files, had) {
		// The listing may have been taken between two steps of another program.
		files, err = s.listOnce(ctx)
	}
	if err != nil {
		return nil, err
	}
	if missing := s.levels.found(files, asked); missing > 0 {
		err := fmt.Errorf("%w; %d files are missing, and the states that need them cannot be restored any more", shipper.ErrVanished, missing)
		s.log.Warn("older states are lost", "error", err)
		s.failedBeside(err)
	}
	if leads(files, had) {
		return files, nil
	}
	newest := format.TXID(0)
	if points := files.Restorable(); len(points) > 0 {
		newest = points[len(points)-1]
	}
	err = fmt.Errorf("%w; the replica had TXID %s, and its %d files lead to TXID %s; a snapshot will replace what is missing",
		shipper.ErrVanished, had, len(files), newest)
	if s.levels.lose(err, asked.log) {
		s.log.Error("the replica is incomplete", "error", err)
		s.failedBeside(err)
	}
	return files, nil
}

func (s *Shipper) listOnce(ctx context.Context) (replica.Files, error) {
	return replica.Collect(s.replica.List(ctx, 0))
}

// leads reports whether files can restore a TXID or a later one.
func leads(files replica.Files, txid format.TXID) bool {
	if txid == 0 {
		return true
	}
	points := files.Restorable()
	return len(points) > 0 && points[len(points)-1] >= txid
}

// A listing holds the state of the levels when a listing of the store begins.
type listing struct {
	upTo      format.TXID // no file that ends at upTo or before is being uploaded, or will be
	log       int         // levels.log
	deletions int         // begun and ended deletions, counted: odd during a deletion
}

func (l *levels) listing(tip format.TXID) listing {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range l.list {
		if v.cut != nil {
			tip = min(tip, v.cut.max)
		}
	}
	return listing{max(tip, 1) - 1, l.log, l.deletions}
}

// held is the number of files in the last listing that end no later than a TXID.
type held struct {
	upTo  format.TXID
	files int
}

func holds(files replica.Files, upTo format.TXID) held {
	h := held{upTo: upTo}
	for _, f := range files {
		if f.MaxTXID <= upTo {
			h.files++
		}
	}
	return h
}

// found compares a listing with the last one, and returns how many files are missing. A
// listing that overlapped a deletion cannot be compared: it may hold any of the deleted
// files.
func (l *levels) found(files replica.Files, asked listing) (missing int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if asked.log != l.log {
		return 0
	}
	for _, f := range files {
		if f.MinTXID == 1 && f.MaxTXID >= l.base.MaxTXID {
			l.base = f.FileInfo
		}
	}
	if asked.deletions%2 == 1 || asked.deletions != l.deletions {
		return 0
	}
	missing = l.held.files - holds(files, l.held.upTo).files
	l.held = holds(files, asked.upTo)
	return missing
}

// deletes notes that files of the last listing are about to be deleted. The returned
// function notes that the deletion ended; after an error, some files may remain.
func (l *levels) deletes(files replica.Files) (ended func(err error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deletions++
	return func(err error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.deletions++
		l.held.files -= holds(files, l.held.upTo).files
		if err != nil {
			l.held = held{} // some of the files may still exist
		}
	}
}

// lose makes a snapshot due at once. It reports whether the loss is new.
func (l *levels) lose(err error, log int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if log != l.log || l.vanished != nil {
		return false
	}
	l.vanished, l.base, l.known = err, format.FileInfo{}, true
	l.needs(l.list[len(l.list)-1], time.Now())
	return true
}

// look checks, with one small request, that the file still exists on which every restore
// is based.
func (s *Shipper) look(ctx context.Context) error {
	s.levels.mu.Lock()
	base := s.levels.base
	s.levels.mu.Unlock()
	if base.MaxTXID != 0 {
		if there, err := s.replica.Exists(ctx, base); there || err != nil {
			return err
		}
	}
	s.levels.mu.Lock()
	s.levels.base = format.FileInfo{} // the listing may have an older base
	s.levels.mu.Unlock()
	_, err := s.list(ctx)
	return err
}
