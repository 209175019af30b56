package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
)

// plan is what to restore from.
type plan struct {
	files  []format.FileInfo // to apply, in order
	listed []format.FileInfo // all that there are

	// newest is the file that the replica's writer would call its newest one, if
	// the plan leads there.
	newest format.FileInfo
}

func (p plan) txid() format.TXID { return p.files[len(p.files)-1].MaxTXID }

// makePlan lists the replica and chooses the files to apply. The time of a file
// cannot be read if retention removed it since.
func makePlan(ctx context.Context, store storage.Store, opts Options) (p plan, err error) {
	for range maxPlans {
		p, err = listAndPlan(ctx, store, opts)
		if _, gone := goneKey(err); !gone {
			break
		}
	}
	return p, err
}

func listAndPlan(ctx context.Context, store storage.Store, opts Options) (p plan, err error) {
	if opts.TXID != 0 && !opts.Timestamp.IsZero() {
		return p, planError(store, errors.New("both a TXID and a timestamp were asked for"))
	}
	if p.listed, err = ListFiles(ctx, store); err != nil {
		return p, err
	}
	if len(p.listed) == 0 {
		return p, explainEmpty(ctx, store)
	}
	txid := opts.TXID
	if !opts.Timestamp.IsZero() {
		if txid, err = txidAt(ctx, store, p.listed, opts); err != nil {
			return p, err
		}
	}
	if p.files, err = format.Plan(p.listed, txid); err != nil {
		return p, planError(store, err)
	}
	p.newest = newestFile(p.listed, p.txid())
	return p, nil
}

// txidAt finds the newest TXID at or before the timestamp. The time of a file
// is the one in its header: the store's own is when the object was written,
// and for a compacted file that is later.
func txidAt(ctx context.Context, store storage.Store, files []format.FileInfo, opts Options) (format.TXID, error) {
	var failed error
	txid, err := format.TXIDAt(files, opts.Timestamp, func(f format.FileInfo) (time.Time, error) {
		h, err := readHeader(ctx, store, f, opts)
		if err != nil {
			failed = err
			return time.Time{}, err
		}
		return time.UnixMilli(h.Timestamp), nil
	})
	switch {
	case failed != nil:
		return 0, failed // it names the object
	case err != nil:
		return 0, planError(store, err)
	}
	return txid, nil
}

// readHeader reads a file's first bytes.
func readHeader(ctx context.Context, store storage.Store, f format.FileInfo, opts Options) (format.LTXHeader, error) {
	r := newResumer(ctx, store, f, opts.Logger).within(0, format.LTXHeaderSize)
	defer r.Close()
	b := make([]byte, format.LTXHeaderSize)
	if _, err := io.ReadFull(r, b); err != nil {
		return format.LTXHeader{}, objectError("read", store, f, err)
	}
	h, err := format.ParseLTXHeader(b)
	if err == nil {
		err = matchHeader(h, f)
	}
	if err != nil {
		return format.LTXHeader{}, objectError("verify", store, f, err)
	}
	return h, nil
}

// matchHeader compares a file's header with its key: an object that was copied
// to another's key is whole, and wrong.
func matchHeader(h format.LTXHeader, f format.FileInfo) error {
	if h.MinTXID != f.MinTXID || h.MaxTXID != f.MaxTXID {
		return fmt.Errorf("%w: its header says TXID %s to %s", format.ErrCorrupt, h.MinTXID, h.MaxTXID)
	}
	return nil
}

func planError(store storage.Store, err error) error {
	return &Error{Op: "plan", Name: store.String(), Err: err}
}

// objectError names the object that an error is about, once.
func objectError(op string, store storage.Store, f format.FileInfo, err error) error {
	if _, ok := errors.AsType[*storage.Error](err); ok {
		return err
	}
	return &Error{Op: op, Name: objectName(store, f), Err: err}
}

func objectName(store storage.Store, f format.FileInfo) string {
	return store.String() + "/" + store.Layout().Key(f.Level, f.MinTXID, f.MaxTXID)
}
