package shipping

import (
	"context"
	"fmt"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/replica"
)

// list lists every file of the replica. What has to be there and is not is said, and
// mended by a snapshot.
func (s *Shipper) list(ctx context.Context) (replica.Files, error) {
	had := s.Tip().TXID
	asked := s.levels.listing(had)
	files, err := s.listOnce(ctx)
	if err == nil && !leads(files, had) {
		// It may have been taken between two steps of somebody else's.
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

// leads reports whether a TXID can be restored from files, or a later one.
func leads(files replica.Files, txid format.TXID) bool {
	if txid == 0 {
		return true
	}
	points := files.Restorable()
	return len(points) > 0 && points[len(points)-1] >= txid
}

// A listing is what is known when the store is asked for one.
type listing struct {
	upTo      format.TXID // no file that ends there or before is on its way, or will be
	log       int         // that the replica has
	deletions int         // that began, and that ended: odd during one
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

// held is how many files there were at the last listing that end no later than a TXID.
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

// found compares a listing with the last one, and returns how many files are gone. One
// that was made while files were deleted cannot be compared: it has some of them or none.
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

// deletes notes that files of the last listing are going to be deleted. The function that
// it returns notes that they are gone, or that an error says which of them are.
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
			l.held = held{} // some of them may be there
		}
	}
}

// lose has a snapshot made at once. It reports whether that is new.
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

// look finds out, with one small request, whether the file is still there that
// everything else is restored on.
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
	s.levels.base = format.FileInfo{} // the listing may have an older one
	s.levels.mu.Unlock()
	_, err := s.list(ctx)
	return err
}
