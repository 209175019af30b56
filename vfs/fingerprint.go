package vfs

import (
	"context"
	"errors"

	"github.com/walvfs/walvfs/vfs/internal/continuity"
	"github.com/walvfs/walvfs/vfs/internal/wal"
)

// A fingerprint is taken in the background of a database's state at open: the
// application's next commit comes before the end of a download.
type fingerprint struct {
	cancel  context.CancelFunc
	sameWAL bool          // the WAL is still the one that the database was opened with
	done    chan struct{} // closed when pages and err are set
	pages   *wal.Fingerprint
	err     error
}

// wantsFingerprint reports whether the state file proves so little that continuity may
// depend on the content of the database.
func (d *database) wantsFingerprint() bool {
	return d.cfg.diverged != DivergedOverwrite && d.opened.Found.Size > 0 &&
		(d.opened.Record != continuity.OwnFile || d.opened.Proof == continuity.DiskLost)
}

// takeFingerprint begins to take a fingerprint. It needs d.connMu, and the WAL index.
func (d *database) takeFingerprint() error {
	mark, err := d.takeMark()
	if err != nil {
		return err
	}
	s, err := d.beginSnapshot(mark)
	if err != nil {
		return errors.Join(err, d.putMark(mark))
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &fingerprint{cancel: cancel, done: make(chan struct{})}
	f.sameWAL = d.ledger.SameWAL(d.opened.Found, s.At) // check now: the application may reset it soon
	d.print = f
	index := d.shm
	go func() {
		defer close(f.done)
		f.pages, f.err = s.Fingerprint(ctx, index)
		d.connMu.Lock()
		defer d.connMu.Unlock()
		f.err = errors.Join(f.err, d.putMark(mark))
	}()
	return nil
}

func (d *database) beginSnapshot(mark *wal.Mark) (*wal.Snapshot, error) {
	if err := mark.Begin(); err != nil {
		return nil, err
	}
	published, err := wal.Boundary(d.shm)
	if err != nil {
		return nil, err
	}
	at, err := d.complete(published)
	if err != nil {
		return nil, err
	}
	s := &wal.Snapshot{At: at, WAL: d.wal, Main: d.main}
	return s, s.Begin()
}

// fingerprint returns the fingerprint of the database's state at open, or of its state
// now if none was begun at open; nil if the database has changed too much meanwhile.
func (d *database) fingerprint(ctx context.Context) (*wal.Fingerprint, error) {
	f, err := d.beginFingerprint()
	if f == nil || err != nil {
		return nil, err
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if f.err != nil {
		d.forgetFingerprint()
		return nil, f.err
	}
	if !f.sameWAL {
		return nil, nil
	}
	return f.pages, nil
}

func (d *database) beginFingerprint() (*fingerprint, error) {
	d.connMu.Lock()
	defer d.connMu.Unlock()
	if d.print != nil {
		return d.print, nil
	}
	if ok, err := d.connectWAL(); !ok || err != nil {
		return nil, err
	}
	err := d.takeFingerprint()
	return d.print, err
}

// forgetFingerprint stops what takeFingerprint began, and returns when it has stopped.
func (d *database) forgetFingerprint() {
	d.connMu.Lock()
	f := d.print
	d.print = nil
	d.connMu.Unlock()
	if f != nil {
		f.cancel()
		<-f.done
	}
}
