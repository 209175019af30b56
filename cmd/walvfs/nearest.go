package main

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
)

// nearestPoints is how many restorable TXIDs are shown on each side.
const nearestPoints = 2

// withNearest adds the nearest restorable states to the error of a restore, if the error
// is that the wanted TXID cannot be restored.
func withNearest(a *app, store storage.Store, err error) error {
	var want format.TXID
	if e, ok := errors.AsType[*format.NotReachableError](err); ok {
		want = e.Target
	} else if e, ok := errors.AsType[*format.GapError](err); ok {
		want = e.Missing
	} else {
		return err
	}
	r := replica.New(store, replica.Options{})
	files, listErr := r.Files(a.ctx)
	points := files.Restorable()
	if listErr != nil || len(points) == 0 {
		return err
	}
	i, _ := slices.BinarySearch(points, want)
	points = points[max(0, i-nearestPoints):min(len(points), i+nearestPoints)]
	hints := make([]string, len(points))
	for i, txid := range points {
		hints[i] = "TXID " + txid.String()
		if h, err := r.HeaderAt(a.ctx, files, txid); err == nil {
			hints[i] += " of " + time.UnixMilli(h.Timestamp).UTC().Format(time.RFC3339Nano) // the time by which --timestamp finds it
		}
	}
	return &hintedError{err, "nearest restorable states: " + strings.Join(hints, ", ")}
}
