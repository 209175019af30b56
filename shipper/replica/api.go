// Package replica reads a replica in a bucket: it lists the files, chooses the files that
// lead to a TXID or a time, and reads their parts.
//
//	r := replica.New(store, replica.Options{})
//	files, err := r.Files(ctx)                       // one listing
//	plan, err := files.Plan(0)                       // the files that lead to the newest TXID
//	for _, f := range plan.Apply {
//		h, t, err := r.Ends(ctx, f)              // header and trailer
//		index, err := r.Index(ctx, f)            // where its pages are
//		if e, ok := index.Find(1); ok {
//			err = r.Page(ctx, f, e, page)    // one of them
//		}
//	}
//
// [Replica.Decode] reads a whole file and verifies it; [Replica.Reader] returns its bytes.
//
// # Damage and absence
//
// If a file is not what its writer wrote, the error is a [*Damaged]; if a file was listed
// and no longer exists, it is a [*Missing]. Both name the file, so that a caller can plan
// without it: another level often holds the same TXIDs, and [Plan.Without] finds out
// whether it does. Any other error comes from the store, and says nothing about the files.
//
// The package checks a header, a trailer, an index or a page that it reads alone against
// the file's key, its size and the other parts. Only the checksum of the whole file
// proves it.
//
// # Memory
//
// A number in a file never makes the package allocate that much memory before as many
// bytes have arrived, or before the number was compared with the size that the store
// reports for the file.
package replica

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
)

// Options sets how to read. The zero value makes each request once.
type Options struct {
	// Patience is how long a read may stall, or fail, before it gives up. Until then the
	// read resumes where it stopped, however often the connection breaks. With zero, the
	// read returns its first error.
	Patience time.Duration

	// Logger gets a warning for each read that is resumed; nil is silent.
	Logger *slog.Logger
}

// A Replica reads one replica. Its methods are safe for concurrent use.
type Replica struct {
	store    storage.Store
	layout   atomic.Int64 // a format.Layout: the store's, or that of the files found
	patience time.Duration
	log      *slog.Logger
}

// New returns a reader of a store. It makes no request, and does not close the store.
func New(store storage.Store, opts Options) *Replica {
	r := &Replica{store: store, patience: opts.Patience, log: cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))}
	r.layout.Store(int64(store.Layout()))
	return r
}

// Key returns the key of a file's object.
func (r *Replica) Key(f format.FileInfo) string {
	return format.Layout(r.layout.Load()).Key(f.Level, f.MinTXID, f.MaxTXID)
}

// Foreign reports whether [Replica.Files] found files under the keys of another kind of
// store, as in a copy of a bucket in a directory. Such a replica can be read, but not
// continued: a writer uses the store's own keys.
func (r *Replica) Foreign() bool { return format.Layout(r.layout.Load()) != r.store.Layout() }

// Name returns the URL of a file's object, for a message.
func (r *Replica) Name(f format.FileInfo) string { return r.store.String() + "/" + r.Key(f) }

// String returns the replica's URL, without secrets.
func (r *Replica) String() string { return r.store.String() }

// Damaged says that a file differs from what its writer wrote: in its bytes, its size, or
// what follows from them. Reading it again gives the same result. It wraps
// [format.ErrCorrupt].
type Damaged struct {
	File format.FileInfo
	Name string // the object's URL
	Err  error
}

func (e *Damaged) Error() string { return fmt.Sprintf("read %s: %v", e.Name, e.Err) }
func (e *Damaged) Unwrap() error { return e.Err }

// Missing says that a listed file does not exist, usually because retention removed it.
// It wraps [storage.ErrNotExist].
type Missing struct {
	File format.FileInfo
	Name string // the object's URL
	Err  error
}

func (e *Missing) Error() string { return e.Err.Error() }
func (e *Missing) Unwrap() error { return e.Err }

// FileError gives an error of reading one file its type: an error that wraps
// [format.ErrCorrupt] becomes a [*Damaged], an error that wraps [storage.ErrNotExist] a
// [*Missing]. Other errors name the file.
func (r *Replica) FileError(f format.FileInfo, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Damaged](err); ok {
		return e
	}
	if e, ok := errors.AsType[*Missing](err); ok {
		return e
	}
	switch {
	case errors.Is(err, format.ErrCorrupt):
		return &Damaged{f, r.Name(f), err}
	case errors.Is(err, storage.ErrNotExist):
		return &Missing{f, r.Name(f), err}
	}
	if _, ok := errors.AsType[*storage.Error](err); ok {
		return err
	}
	return fmt.Errorf("read %s: %w", r.Name(f), err)
}
