package shipper

import (
	"context"
	"errors"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/superfly/ltx"

	"github.com/walvfs/walvfs/format"
)

// A Source is a database as the shipper sees it. The shipper calls its methods
// from one goroutine at a time. A cut may still be read, by another goroutine, when
// the next one begins.
type Source interface {
	// Last returns the newest TXID that this copy of the database remembers the
	// replica to have acknowledged, 0 for none. It is where the search for the
	// tip begins, and only a hint.
	Last() format.TXID

	// Recognize tells the source the replica's tip, nil if the replica has no
	// files, before the first cut. The source decides from it what the next cut
	// must hold. An error that is [ErrDiverged] halts replication, any other is
	// retried.
	Recognize(ctx context.Context, tip *Tip) error

	// Cut begins a cut of every page that changed since the last acknowledged
	// one, as of a commit boundary. It returns nil if there is none, unless a cut
	// is wanted anyway, to read other pages beside the next cut; and if there is no
	// database yet.
	Cut(ctx context.Context, anyway bool) (Cut, error)

	// Behind estimates what the replica lacks: commits since the database was
	// opened, and pages and their bytes. It may be called at any time.
	Behind() (commits, pages, bytes int64)

	// Rest tells that there is nothing to do for a while: what can be had again need
	// not take memory. It may be called at any time.
	Rest()

	// Intended reports whether this copy of the database meant to upload a file
	// and never heard the outcome, now or in an earlier run.
	Intended(Position) bool
}

// A Cut is the content of a set of pages as of one commit boundary. It is read
// until Close, and settled by one call of Acknowledge or Abandon, before that or
// after. While it is read, the WAL grows.
type Cut interface {
	// Info describes the cut. It is called before Close, and stays valid.
	Info() CutInfo

	// ReadPages reads the content of consecutive pages at the boundary into p, as
	// many as it has room for. They may be any up to Commit but the lock page.
	ReadPages(first uint32, p []byte) error

	// Sync makes durable on the local disk what was read: a power loss must not
	// leave the replica ahead of the disk. It comes before Close or after.
	Sync() error

	// Close ends reading.
	Close() error

	// Intend records the file that is about to be uploaded, so that after a crash
	// it is recognized as this database's own. Sync comes before.
	Intend(Position) error

	// Acknowledge tells that the replica has the cut.
	Acknowledge(Position)

	// Abandon puts the cut's pages back: they are in the next one.
	Abandon()
}

// CutInfo describes a cut.
type CutInfo struct {
	PageSize  uint32          // bytes
	Commit    uint32          // size of the database at the boundary, in pages
	Pages     *roaring.Bitmap // page numbers, without the lock page, none beyond Commit
	WALOffset int64           // where in the WAL the cut begins, bytes
	WALSize   int64           // bytes of the WAL that the cut covers
	Salt      format.Salt     // of the WAL at the boundary, zero if it is empty

	// Same: nothing was committed since the last acknowledged cut. There is no
	// level 0 file to make.
	Same bool

	// Rebase: the page size is another one than that of the files before, so that
	// a restore cannot go on from them. The cut has every page.
	Rebase bool
}

// Position identifies a level 0 file of the replica: its TXID and the checksum
// in its trailer, which covers its header, its time included.
type Position struct {
	TXID     format.TXID
	Checksum ltx.Checksum
	Time     time.Time
}

// Tip is the replica's newest file.
type Tip struct {
	format.FileInfo
	Header   ltx.Header
	Checksum ltx.Checksum // the file checksum in its trailer
}

// ErrDiverged: the replica's newest file is not known to be this database's
// past. Going on would mix two histories.
var ErrDiverged = errors.New("the replica holds another history than this database")

// ErrFenced: another writer holds the next TXID.
var ErrFenced = errors.New("another writer has taken over the replica")
