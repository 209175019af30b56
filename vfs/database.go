package vfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/shipping"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/vfs/internal/ledger"
	"github.com/walvfs/walvfs/vfs/internal/wal"
)

// A database is one replicated file, shared by its connections in this process.
// It is the shipper's source.
type database struct {
	path    string
	file    fileID
	cfg     settings
	lock    *processLock
	vfsName string // of the internal connection
	events  EventListener
	calls   *callbacks
	log     *slog.Logger
	ledger  *ledger.Ledger
	store   storage.Store
	place   string // of the store: no other database may use it
	ship    *shipping.Shipper
	opened  ledger.Inspection // as the database was found

	// Of the shipper's goroutine.
	evidence      evidence
	theirPageSize uint32 // of the replica's newest file, 0 if it has none
	rebase        bool   // the replica lacks the snapshot that must follow a changed page size

	entered    sync.Once              // WAL mode, by the first connection
	inWAL      atomic.Bool            // the database is known to be in WAL mode
	outside    atomic.Int32           // commits without a WAL since the database was last known to be in WAL mode
	unsettled  atomic.Int32           // connections that wrote a commit frame without a success since
	rechecks   atomic.Int32           // of them, since the last commit frame
	persistWAL atomic.Bool            // the application asked SQLite to keep the -wal
	synced     atomic.Pointer[walEnd] // the end of the last sync of the WAL
	claim      atomic.Bool            // the next cut may be empty: it takes over the replica

	// refs, draining and closed are guarded by the registry.
	refs     int           // the application's open connections
	draining int           // closes that wait for the replica
	closed   chan struct{} // made when the database begins to close, closed when it has closed

	causes    sync.Map // why a transaction last failed with a code, by [sqlite3.ExtendedErrorCode]
	unshipped error    // why the last close did not ship every commit; read it after closed is closed

	pinned pinned // by commits that wait

	connMu sync.Mutex
	own
	print   *fingerprint // of the database's state at open, nil if not needed
	frames  wal.FrameIndex
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
	opened, err := ledger.Inspect(path, store.String())
	if err != nil {
		return nil, errors.Join(err, store.Close(), lock.Close())
	}
	d := &database{
		path:    path,
		file:    id,
		cfg:     cfg,
		lock:    lock,
		vfsName: v.name + internalSuffix,
		log:     log,
		ledger:  ledger.Open(opened, store.String()),
		store:   store,
		opened:  opened,
		place:   storage.Place(store),
		events:  v.opts.Events,
		calls:   cfg.calls,
	}
	if opened.Err != nil {
		log.Warn("ignoring an unreadable state file", "error", opened.Err)
	}
	d.evidence = d.atOpen()
	d.claim.Store(opened.Restored)
	d.ship = shipping.New(d, store, shipping.Options{
		NodeID:   d.ledger.NodeID(),
		Interval: cfg.interval,
		SpoolDir: filepath.Dir(path),
		Unfenced: cfg.fencing == FencingOff,
		Policy:   cfg.policy,
		Logger:   log,
		Events:   d.emit,
	})
	return d, nil
}

func (d *database) wake() { d.ship.Wake() }

// Behind implements [shipping.Source].
func (d *database) Behind() (commits, pages, bytes int64) {
	commits, pages, bytes = d.ledger.Behind()
	return commits + int64(d.outside.Load()), pages, bytes
}

// Rest implements [shipping.Source].
func (d *database) Rest() {
	if !d.connMu.TryLock() {
		return
	}
	defer d.connMu.Unlock()
	d.frames = wal.FrameIndex{}
	if d.mark != nil {
		d.mark.Close()
		d.mark = nil
	}
}

// noteUnsynced warns of PRAGMA synchronous=off: after a power loss the database may be
// corrupt, and lack commits that the replica has.
func (d *database) noteUnsynced(synchronous string) {
	if isOff(synchronous) {
		if d.ledger.Distrust() {
			d.log.Warn("synchronous=off: a power loss can corrupt the database on this machine, and then only the replica is whole")
		}
	}
}

// isOff parses a value of PRAGMA synchronous as SQLite does: a word, or a number of which
// it takes three bits.
func isOff(synchronous string) bool {
	switch strings.ToLower(synchronous) {
	case "off", "no", "false":
		return true
	}
	n, err := strconv.ParseUint(synchronous, 10, 64)
	return err == nil && (n+1)&7 <= 1
}

// journalMode is the mode in bytes 18 and 19 of a database file.
type journalMode int

const (
	modeEmpty    journalMode = iota // the file has no page yet
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

// enterWAL puts the database into WAL mode, unless it is empty: an application that has
// not committed yet may still choose the page size. It also opens the internal
// connection, before the application's first statement: the first connection to open a
// WAL recovers it, under a lock that makes statements of other connections fail. Each cut
// retries what fails here.
func (d *database) enterWAL(file io.ReaderAt) {
	first := false
	d.entered.Do(func() { // other connections wait for the fingerprint of the opened database
		first = true
		d.tryEnterWAL(file, d.wantsFingerprint())
	})
	if !first {
		d.tryEnterWAL(file, false)
	}
}

func (d *database) tryEnterWAL(file io.ReaderAt, fingerprint bool) {
	if d.inWAL.Load() {
		return
	}
	if mode, err := readMode(file); err != nil || mode == modeEmpty {
		return
	}
	d.connMu.Lock()
	defer d.connMu.Unlock()
	if ok, err := d.connectWAL(); ok && err == nil && fingerprint {
		d.takeFingerprint() // without one, compare takes it later
	}
}

// shipped calls await, which waits until the replica has all commits. During a last
// close, that close ships them, and shipped returns its outcome.
func (d *database) shipped(ctx context.Context, await func() error) error {
	defer d.calls.wait()
	err := await()
	if !errors.Is(err, shipper.ErrClosed) {
		return identified(err)
	}
	closed := databases.closing(d)
	if closed == nil {
		return err
	}
	select {
	case <-closed:
		return identified(d.unshipped)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// drain waits until the replica has all commits, up to close_timeout.
func (d *database) drain() error {
	shipped := d.allShipped()
	if d.nothingToShip() || shipped && !d.ship.IsShort() {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), d.cfg.closeTimeout,
		fmt.Errorf("close_timeout=%s is over", d.cfg.closeTimeout))
	defer cancel()
	err := d.ship.Finish(ctx)
	if err == nil || shipped {
		return nil // the next run compacts what a short run has not
	}
	st := d.ship.Status()
	d.log.Error("closed before the replica had every commit", "error", err, "tip", st.Tip.TXID, "lag", st.Lag)
	return err
}

// nothingToShip reports whether a database was never written to, so that its close need
// not send requests to the store.
func (d *database) nothingToShip() bool {
	info, err := os.Stat(d.path)
	return err == nil && info.Size() == 0
}

// allShipped reports whether the replica is known to have every commit.
func (d *database) allShipped() bool {
	if !d.connMu.TryLock() {
		return false // a cut is under way
	}
	defer d.connMu.Unlock()
	return d.unmoved()
}

// discard releases a database that no connection has used.
func (d *database) discard() {
	d.store.Close()
	d.ledger.Discard()
	d.lock.Close()
}

// close ends replication. Nothing else uses the database any more.
func (d *database) close() {
	d.ship.Close()
	d.forgetFingerprint()
	d.connMu.Lock()
	defer d.connMu.Unlock()
	if err := errors.Join(d.disconnect(), d.store.Close()); err != nil {
		d.log.Warn("closing", "error", err)
	}
	d.ledger.Close()
	d.tell()
	d.lock.Close()
}

// mayLack reports whether the replica may lack a commit.
func (d *database) mayLack() bool {
	return !d.ledger.Clean() || d.ledger.Unscanned(d.opened.Found)
}

// tell logs the ledger's news. The caller must not hold a lock: a logger is the
// application's code, and may write to this very database.
func (d *database) tell() {
	resync, warning := d.ledger.News()
	if resync != "" {
		d.log.Warn("uploading the whole database again", "reason", resync)
		d.emit(shipper.Resynced{Reason: resync})
	}
	if warning != nil {
		d.log.Warn("writing the state file failed; after a crash, walvfs may have to download the replica and compare it", "error", warning)
	}
}

// A commit frame without a success is watched for some 10 s. Its transaction may have
// failed, may still be syncing, or may be the first of two files whose second one failed:
// the first is committed, without CommitPhaseTwo. The first recheck comes after
// firstRecheck, each later one after twice the time.
const (
	firstRecheck = 5 * time.Millisecond
	mostRechecks = 11
)

// recheck wakes the shipper later while a commit frame is unsettled.
func (d *database) recheck() {
	if d.unsettled.Load() == 0 {
		return
	}
	if n := d.rechecks.Load(); 0 <= n && n < mostRechecks {
		d.rechecks.Add(1)
		time.AfterFunc(firstRecheck<<n, d.wake)
	}
}

// complete reads from the database file what the index of a WAL without frames lacks:
// then the file is the whole database.
func (d *database) complete(at format.WALIndex) (format.WALIndex, error) {
	if at.MxFrame > 0 {
		return at, nil
	}
	var header [100]byte
	if _, err := d.main.ReadAt(header[:], 0); err != nil {
		return at, err
	}
	at.PageSize = format.DatabasePageSize(header[:])
	if at.PageSize < 512 || at.PageSize&(at.PageSize-1) != 0 {
		return at, fmt.Errorf("the database header has page size %d", at.PageSize)
	}
	size, err := d.main.Size()
	if err != nil {
		return at, err
	}
	if at.NPage == 0 {
		at.NPage = uint32(size / int64(at.PageSize))
	}
	return at, nil
}
