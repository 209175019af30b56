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
	// Last returns the newest TXID that the replica acknowledged, as far as this copy of
	// the database remembers, 0 for none. The search for the tip begins there; it is only
	// a hint.
	Last() format.TXID

	// Recognize gives the source the replica's tip before the first cut, nil if the
	// replica has no files. From the tip, the source decides what the next cut must hold.
	// The error [shipper.ErrDiverged] halts replication, any other error is retried.
	Recognize(ctx context.Context, tip *replica.Tip) error

	// Cut begins a cut of every page that changed since the last acknowledged cut, as of
	// a commit boundary. It returns nil if no page changed and extra is nil, or if the
	// database does not exist yet. It closes the copy of extra.
	Cut(ctx context.Context, extra *Extra) (Cut, error)

	// Precopy prepares a copy of pages ahead of the cut that will hold them together with
	// the changed pages. The function pages returns the page numbers, nil for every page,
	// and is called again while the copy continues. Precopy returns nil if the pages are
	// so few that the cut should read them itself. It may be called at any time.
	Precopy(pages func() *roaring.Bitmap) (Precopied, error)

	// Behind estimates what the replica lacks: commits since the database was opened, and
	// pages and their bytes. It may be called at any time.
	Behind() (commits, pages, bytes int64)

	// Rest is called when nothing is due for a while: the source may free memory whose
	// content it can load again. It may be called at any time.
	Rest()

	// Intended reports whether this copy of the database tried to upload a file, now or
	// in an earlier run, and never learned the outcome.
	Intended(shipper.Position) bool
}

// Extra says which pages a cut must hold besides the changed pages, for files of higher
// levels.
type Extra struct {
	Pages  *roaring.Bitmap // nil for every page
	Copied Precopied       // the pages that were copied ahead, nil for no copy
}

// A Precopied is a copy of pages ahead of a cut. While a cut reads many pages, the WAL
// grows; while pages are copied, it does not. Pages that change meanwhile are copied
// again, and the cut reads only the rest.
type Precopied interface {
	// Copy copies pages, concurrently with all other calls of the source, until few
	// remain. After an error, the copy is of no use.
	Copy(ctx context.Context) error

	// Close drops the copy. A copy that was given to a cut is closed by the cut.
	Close() error
}

// A Cut is the content of a set of pages as of one commit boundary. It can be read until
// Close. One call of Acknowledge or Abandon settles it, before Close or after. While it
// is read, the WAL grows, unless its pages were copied.
type Cut interface {
	// Info describes the cut. It is called before Close, and its result stays valid.
	Info() CutInfo

	// ReadPages reads the content of consecutive pages at the boundary into p, as many as
	// fit. They are changed or extra pages.
	ReadPages(first uint32, p []byte) error

	// Sync returns a function that makes the pages read until now durable on the local
	// disk: a power loss must not leave the replica ahead of the disk. The function may
	// run concurrently with later reads, before Close or after.
	Sync() func() error

	// Close ends reading.
	Close() error

	// Intend records the file that is about to be uploaded, so that after a crash this
	// database recognizes it as its own. It may be called concurrently with Sync. The
	// upload comes after both.
	Intend(shipper.Position) error

	// Acknowledge notes that the replica has the cut.
	Acknowledge(shipper.Position)

	// Abandon puts the cut's pages back: the next cut holds them.
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

	// Same: no transaction was committed since the last acknowledged cut. No level 0 file
	// is made.
	Same bool

	// Whole: the changes since the last acknowledged cut are unknown, so the cut has
	// every page.
	Whole bool

	// Rebase: the page size differs from that of the files before, so that a restore
	// cannot continue from them. The cut has every page.
	Rebase bool
}
