package vfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage"
)

// A database is one replicated file, shared by its connections in this process.
// It is the shipper's source.
type database struct {
	path    string
	file    fileID
	cfg     settings
	lock    *os.File // against other processes, nil where the system has no such lock
	vfsName string   // of the internal connection
	events  EventListener
	capture *capture
	store   storage.Store
	ship    *shipper.Shipper
	memory  *memory
	found   found // at open

	// Of the shipper's goroutine.
	unproven      error    // why the database may differ from the replica in any page, nil if it cannot
	theirPageSize uint32   // of the replica's newest file, 0 if it has none
	full          struct { // of a comparison that found no room on the disk
		err   error
		until time.Time
	}
	rebase bool // the replica lacks the snapshot that has to follow a changed page size

	inWAL      atomic.Bool  // the database is known to be in WAL mode
	unsettled  atomic.Int32 // connections that wrote a commit frame without a success since
	rechecks   atomic.Int32 // of them, since the last commit frame
	persistWAL atomic.Bool  // the application wants the -wal kept
	claim      atomic.Bool  // the next cut may be empty: it takes the replica over

	// refs, draining and closed are guarded by the registry.
	refs     int           // the application's open connections
	draining int           // closes that wait for the replica
	closed   chan struct{} // not nil once it is closing, closed when it is gone

	unshipped error // why the last close left something, to be read when it is closed

	connMu sync.Mutex
	own
	frames  frameIndex
	lastCut format.WALIndex // its boundary
}

func (v *replicated) newDatabase(path string, id fileID, cfg settings) (*database, error) {
	lock, err := lockDatabase(path)
	if err != nil {
		return nil, err
	}
	store, err := storage.Open(context.Background(), cfg.replica, cfg.storage)
	if err != nil {
		lock.Close()
		return nil, err
	}
	log := cfg.logger.With("db", path, "replica", store.String())
	c := newCapture(path, log)
	memory, err := remember(path, store.String(), c)
	if err != nil {
		return nil, errors.Join(err, store.Close(), lock.Close())
	}
	d := &database{
		path:    path,
		file:    id,
		cfg:     cfg,
		lock:    lock,
		vfsName: v.name + internalSuffix,
		capture: c,
		store:   store,
		memory:  memory,
		events:  v.opts.Events,
	}
	removeCompared(path)
	d.found = look(path)
	d.unproven = memory.resume(d.found)
	d.claim.Store(memory.Restored)
	c.resynced = func(reason string) { d.emit(shipper.Resynced{Reason: reason}) }
	d.ship = shipper.New(d, store, shipper.Options{
		NodeID:   d.memory.NodeID,
		Interval: cfg.interval,
		SpoolDir: filepath.Dir(path),
		Unfenced: cfg.unfenced,
		Policy:   cfg.policy,
		Logger:   log,
		Events:   d.emit,
	})
	return d, nil
}

func (d *database) wake() { d.ship.Wake() }

// Behind implements [shipper.Source].
func (d *database) Behind() (commits, pages, bytes int64) {
	c := d.capture
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.index == nil {
		return 0, 0, 0
	}
	at, err := boundary(c.index)
	if err != nil {
		return 0, 0, 0
	}
	pages = int64(c.dirty.GetCardinality())
	if c.inFlight != nil {
		pages += int64(c.inFlight.pages.GetCardinality())
	}
	if at.Salt == c.epoch && at.MxFrame > c.scanned {
		pages += int64(at.MxFrame - c.scanned)
	}
	if c.all() || pages > int64(at.NPage) {
		pages = int64(at.NPage)
	}
	return int64(at.Change - c.shipped), pages, pages * int64(c.pageSize)
}

// Rest implements [shipper.Source].
func (d *database) Rest() {
	if !d.connMu.TryLock() {
		return
	}
	defer d.connMu.Unlock()
	d.frames = frameIndex{}
	if d.mark != nil {
		d.mark.close()
		d.mark = nil
	}
}

// noteUnsynced says what PRAGMA synchronous=off risks: after a power loss the
// database may be corrupt, and lack what the replica has.
func (d *database) noteUnsynced(synchronous string) {
	if isOff(synchronous) {
		d.capture.distrust()
		d.capture.log.Warn("synchronous=off: a power loss can corrupt the database on this machine, and then only the replica is whole")
	}
}

// isOff understands the values of PRAGMA synchronous as SQLite does: words, and numbers
// of which it takes three bits.
func isOff(synchronous string) bool {
	switch strings.ToLower(synchronous) {
	case "off", "no", "false":
		return true
	}
	n, err := strconv.ParseUint(synchronous, 10, 64)
	return err == nil && (n+1)&7 <= 1
}

// journalMode is what bytes 18 and 19 of a database file say.
type journalMode int

const (
	modeEmpty    journalMode = iota // no page was ever written
	modeRollback                    // version 1
	modeWAL                         // version 2
	modeUnknown                     // not a database, or an encrypted one
)

// readMode reads the file format version.
//
// https://sqlite.org/fileformat2.html#file_format_version_numbers
func readMode(file io.ReaderAt) (journalMode, error) {
	var b [20]byte
	if n, err := file.ReadAt(b[:], 0); err == io.EOF {
		if n == 0 {
			return modeEmpty, nil
		}
		return modeUnknown, nil
	} else if err != nil {
		return modeUnknown, err
	}
	switch {
	case !bytes.HasPrefix(b[:], []byte("SQLite format 3\x00")):
		return modeUnknown, nil
	case b[18] == 2 && b[19] == 2:
		return modeWAL, nil
	}
	return modeRollback, nil
}

// enterWAL puts the database into WAL mode if it is not, unless it is empty: an
// application that has not committed yet may still choose the page size. It also
// opens the internal connection, before the application's first statement: the
// first one to open a WAL recovers it, under a lock that another one's statement
// would fail on. What fails here is tried again by each cut.
func (d *database) enterWAL(file io.ReaderAt) {
	if d.inWAL.Load() {
		return
	}
	if mode, err := readMode(file); err != nil || mode == modeEmpty {
		return
	}
	d.connMu.Lock()
	defer d.connMu.Unlock()
	d.connectWAL()
}

// flush has the replica get what is committed by now. Beside a last close it is that
// one which does.
func (d *database) flush(ctx context.Context) error {
	err := d.ship.Drain(ctx)
	if !errors.Is(err, shipper.ErrClosed) {
		return err
	}
	closed := databases.closing(d)
	if closed == nil {
		return err
	}
	select {
	case <-closed:
		return d.unshipped
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// drain gives what is committed its time to reach the replica.
func (d *database) drain() error {
	if d.nothingToShip() || d.allShipped() {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), d.cfg.closeTimeout,
		fmt.Errorf("close_timeout=%s is over", d.cfg.closeTimeout))
	defer cancel()
	err := d.ship.Finish(ctx)
	if err != nil {
		st := d.ship.Status()
		d.capture.log.Error("closed before the replica had every commit", "error", err, "tip", st.Tip.TXID, "lag", st.Lag)
	}
	return err
}

// nothingToShip reports whether a database was never written to, so that its
// close need not ask the store for anything.
func (d *database) nothingToShip() bool {
	info, err := os.Stat(d.path)
	return err == nil && info.Size() == 0
}

// allShipped reports whether the replica is known to have everything.
func (d *database) allShipped() bool {
	if !d.connMu.TryLock() {
		return false // a cut is under way
	}
	defer d.connMu.Unlock()
	return d.unmoved()
}

// discard lets go of a database that nobody has used.
func (d *database) discard() {
	d.store.Close()
	d.memory.file.Close()
	d.lock.Close()
}

// close ends replication. Nothing else uses the database any more.
func (d *database) close() {
	d.ship.Close()
	d.connMu.Lock()
	defer d.connMu.Unlock()
	if err := errors.Join(d.disconnect(), d.store.Close()); err != nil {
		d.capture.log.Warn("closing", "error", err)
	}
	d.memory.close()
	d.lock.Close()
}

// mayLack reports whether the replica is known to lack something, or may.
func (d *database) mayLack() bool {
	if !d.capture.clean() {
		return true
	}
	d.capture.mu.Lock()
	defer d.capture.mu.Unlock()
	return d.found.last > d.capture.scanned
}
