package shipping

import (
	"context"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/replica"
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
	Recognize(ctx context.Context, tip *replica.Tip) error

	// Cut begins a cut of every page that changed since the last acknowledged
	// one, as of a commit boundary. It returns nil if there is none, unless extra is
	// not nil; and if there is no database yet. It closes what was copied.
	Cut(ctx context.Context, extra *Extra) (Cut, error)

	// Precopy prepares a copy of pages ahead of the cut that is to hold them, with
	// those that changed: pages returns the pages, nil for every page, and is called
	// again as the copy goes on. Precopy returns nil if a cut had better read so few
	// pages itself. It may be called at any time.
	Precopy(pages func() *roaring.Bitmap) (Precopied, error)

	// Behind estimates what the replica lacks: commits since the database was
	// opened, and pages and their bytes. It may be called at any time.
	Behind() (commits, pages, bytes int64)

	// Rest tells that there is nothing to do for a while: what can be had again need
	// not take memory. It may be called at any time.
	Rest()

	// Intended reports whether this copy of the database meant to upload a file
	// and never heard the outcome, now or in an earlier run.
	Intended(shipper.Position) bool
}

// Extra says which pages a cut is to hold with those that changed, for files of higher
// levels.
type Extra struct {
	Pages  *roaring.Bitmap // nil for every page
	Copied Precopied       // them, as far as they were copied ahead, nil for no copy
}

// A Precopied is a copy of pages ahead of a cut. While a cut reads many pages, the WAL
// grows. While they are copied, it does not: what was written to since is copied again,
// and the cut reads only the rest.
type Precopied interface {
	// Copy copies pages, beside all else that the source is asked for, until few are
	// left. If it fails, the copy is of no use.
	Copy(ctx context.Context) error

	// Close drops the copy. A copy that a cut was given is the cut's to close.
	Close() error
}

// A Cut is the content of a set of pages as of one commit boundary. It is read
// until Close, and settled by one call of Acknowledge or Abandon, before that or
// after. While it is read, the WAL grows, unless its pages were copied.
type Cut interface {
	// Info describes the cut. It is called before Close, and stays valid.
	Info() CutInfo

	// ReadPages reads the content of consecutive pages at the boundary into p, as
	// many as it has room for. They are of those that changed, or extra.
	ReadPages(first uint32, p []byte) error

	// Sync returns what makes durable on the local disk what was read until now: a power
	// loss must not leave the replica ahead of the disk. It may run beside later reads,
	// before Close or after.
	Sync() func() error

	// Close ends reading.
	Close() error

	// Intend records the file that is about to be uploaded, so that after a crash
	// it is recognized as this database's own. It may be called beside Sync. The upload
	// comes after both.
	Intend(shipper.Position) error

	// Acknowledge tells that the replica has the cut.
	Acknowledge(shipper.Position)

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

	// Whole: nothing is known of what changed since the last acknowledged cut, so that
	// it has every page.
	Whole bool

	// Rebase: the page size is another one than that of the files before, so that
	// a restore cannot go on from them. The cut has every page.
	Rebase bool
}
