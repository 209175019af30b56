package vfs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/vfs/internal/wal"
)

// compare compares the replica's newest state with the database's state at open, page by
// page. It returns how they differ, "" if they do not.
//
// It downloads the whole replica, and needs no space on the disk. Without a state file,
// nothing less proves that the replica is not newer.
func (d *database) compare(ctx context.Context, tip *replica.Tip) (differs string, err error) {
	f, err := d.fingerprint(ctx)
	if err != nil {
		return "", fmt.Errorf("read the database to compare it: %w", err)
	}
	if f == nil {
		return "the database has changed too much since it was opened to tell", nil
	}
	if n, ok := wal.CutFrames(tip.Header, d.opened.Found.WAL); ok && n > int64(d.opened.Found.Last) {
		return "the WAL ends before what that file was made of", nil
	}
	if differs := f.Compare(0, d.opened.Found.Last, filePages(d.opened.Found, f)).Differs(tip.Header.Commit); differs != "" {
		return differs, nil // without a download
	}
	return comparePages(ctx, d.store, tip.MaxTXID, f, 0, d.opened.Found, d.log)
}

// comparePages compares a TXID of a replica with a fingerprint of a database, at any
// commit from frame first of its WAL up to the last frame that was found.
func comparePages(ctx context.Context, store storage.Store, txid format.TXID, f *wal.Fingerprint, first uint32, found wal.Found, log *slog.Logger) (differs string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &pageComparison{print: f, first: first, last: found.Last, filePages: filePages(found, f), stop: cancel}
	c.begin()
	result, err := restore.ReadPages(ctx, store, restore.Options{TXID: txid, Logger: log}, c)
	switch {
	case c.stopped.Load():
		return c.now.Load().Differs(0), nil
	case errors.Is(err, format.ErrCorrupt):
		return err.Error(), nil
	case err != nil:
		return "", err
	case result.PageSize != f.At.PageSize:
		return "the page sizes differ", nil
	}
	return c.now.Load().Differs(result.Pages), nil
}

func filePages(found wal.Found, f *wal.Fingerprint) uint32 {
	return uint32(found.Size / int64(f.At.PageSize))
}

// pageComparison is a sink that compares a replica's pages.
type pageComparison struct {
	print                  *wal.Fingerprint
	first, last, filePages uint32
	now                    atomic.Pointer[wal.Comparison]
	stopped                atomic.Bool // a page differs
	stop                   context.CancelFunc
}

var _ restore.PageSink = (*pageComparison)(nil)

func (c *pageComparison) begin() { c.now.Store(c.print.Compare(c.first, c.last, c.filePages)) }

// Reset implements [restore.PageSink].
func (c *pageComparison) Reset() error {
	c.begin()
	return nil
}

var errDiffers = errors.New("a page differs")

// WritePages implements [restore.PageSink].
func (c *pageComparison) WritePages(pageSize int, first uint32, pages []byte) error {
	if pageSize != int(c.print.At.PageSize) {
		return nil // the result has the page size
	}
	for now := c.now.Load(); len(pages) > 0; first, pages = first+1, pages[pageSize:] {
		if !now.Page(first, pages[:pageSize]) {
			c.stopped.Store(true)
			c.stop()
			return errDiffers
		}
	}
	return nil
}
