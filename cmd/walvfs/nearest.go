package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
)

// nearestPoints is how many restorable TXIDs are shown on each side.
const nearestPoints = 2

// withNearest adds to the error of a restore what could be restored instead, if it
// is that the wanted TXID cannot be.
func withNearest(a *app, store storage.Store, err error) error {
	var want format.TXID
	if e, ok := errors.AsType[*format.NotReachableError](err); ok {
		want = e.Target
	} else if e, ok := errors.AsType[*format.GapError](err); ok {
		want = e.Missing
	} else {
		return err
	}
	files, listErr := restore.ListFiles(a.ctx, store)
	points := format.Restorable(files)
	if listErr != nil || len(points) == 0 {
		return err
	}
	i, _ := slices.BinarySearch(points, want)
	points = points[max(0, i-nearestPoints):min(len(points), i+nearestPoints)]
	hints := make([]string, len(points))
	for i, txid := range points {
		hints[i] = "TXID " + txid.String()
		if h, err := cutOf(a, store, files, txid); err == nil {
			hints[i] += " of " + time.UnixMilli(h.Timestamp).UTC().Format(time.RFC3339)
		}
	}
	return &hintedError{err, "nearest that can be restored: " + strings.Join(hints, ", ")}
}

// cutOf reads the header of the file that ends at a TXID and tells its time best:
// that of the lowest level, for Litestream's snapshots carry the time when they
// were made.
func cutOf(a *app, store storage.Store, files []format.FileInfo, txid format.TXID) (format.LTXHeader, error) {
	var best format.FileInfo
	for _, f := range files {
		if f.MaxTXID == txid && (best.MaxTXID == 0 || f.Level < best.Level) {
			best = f
		}
	}
	key := keyOf(store, best)
	r, _, err := store.Open(a.ctx, key, 0, format.LTXHeaderSize)
	if err != nil {
		return format.LTXHeader{}, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, format.LTXHeaderSize))
	if err != nil {
		return format.LTXHeader{}, fmt.Errorf("read %s/%s: %w", store, key, err)
	}
	h, err := format.ParseLTXHeader(b)
	if err != nil {
		return h, fmt.Errorf("read %s/%s: %w", store, key, err)
	}
	return h, nil
}

func keyOf(store storage.Store, f format.FileInfo) string {
	return store.Layout().Key(f.Level, f.MinTXID, f.MaxTXID)
}
