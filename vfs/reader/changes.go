package reader

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sort"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
)

// A State is the database that a connection sees, page by page. It is for programs that
// know SQLite's file format. One goroutine at a time may use it, until the connection is
// closed.
type State struct {
	source *source
	view   *view
}

// StateOf returns the state that a connection to a replica sees now. It fails for
// connections that this package did not open.
func StateOf(db *sqlite3.Conn) (*State, error) {
	c, err := connOf(db)
	if err != nil {
		return nil, err
	}
	return &State{c.source, c.view}, nil
}

func connOf(db *sqlite3.Conn) (*conn, error) {
	file, err := db.FileControl("main", sqlite3.FCNTL_FILE_POINTER)
	if err != nil {
		return nil, fmt.Errorf("walvfs: read the pages of a connection: %w", err)
	}
	if f, ok := file.(vfs.File); ok {
		if c, ok := vfsutil.UnwrapFile[*conn](f); ok {
			return c, nil
		}
	}
	return nil, errors.New("walvfs: read the pages of a connection: it is no connection to a replica")
}

// TXID returns the TXID of the state.
func (s *State) TXID() format.TXID { return s.view.txid }

// Time returns when the TXID was committed, as its writer recorded it.
func (s *State) Time() time.Time { return s.view.time }

// PageSize returns the page size in bytes.
func (s *State) PageSize() int { return int(s.view.pageSize) }

// Pages returns the size of the database in pages.
func (s *State) Pages() uint32 { return s.view.commit }

// Page returns a page. The database must have the page. Damaged and missing files are
// replaced by others that lead to the same TXID.
func (s *State) Page(ctx context.Context, pgno uint32) ([]byte, error) {
	if pgno == 0 || pgno > s.view.commit {
		return nil, fmt.Errorf("read page %d of TXID %s: %w: the database has %d pages", pgno, s.view.txid, format.ErrCorrupt, s.view.commit)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.source.timeout, fmt.Errorf("no answer in %s", s.source.timeout))
	defer cancel()
	page := make([]byte, s.view.pageSize)
	err := s.source.readPage(ctx, &s.view, pgno, page)
	if err != nil {
		return nil, fmt.Errorf("read page %d of TXID %s: %w", pgno, s.view.txid, err)
	}
	return page, nil
}

// Fetch begins to fetch the first of the given pages, as many as the cache has room for,
// and returns their number.
func (s *State) Fetch(pgnos []uint32) int {
	n := min(len(pgnos), max(1, s.source.pages.window(s.view)))
	s.source.pages.ahead(s.view, pgnos[:n], false)
	return n
}

// Changes returns the pages that may differ between what two connections to the same
// replica see, in ascending order. The first connection must be at an older state. All other
// pages that both states have are equal. Changes returns nil if the files between the two
// states cannot show that: only whole databases lead from one state to the other, or the page
// size changed.
//
// From then on, the later connection reads unchanged pages from the same files as the older
// connection, so that both fetch them once.
func Changes(ctx context.Context, from, to *sqlite3.Conn) (iter.Seq[uint32], error) {
	a, err := connOf(from)
	if err != nil {
		return nil, err
	}
	b, err := connOf(to)
	if err != nil {
		return nil, err
	}
	if a.view.txid > b.view.txid || b.lock != 0 {
		return nil, errors.New("walvfs: compare two states: the later one is older, or is being read")
	}
	changed, v, err := a.source.between(ctx, a.view, b.view)
	if err == nil {
		err = a.source.prepare(ctx, a.view.base, changed) // most of the pages to compare are in the base
	}
	if err != nil {
		return nil, fmt.Errorf("compare TXID %s with %s: %w", a.view.txid, b.view.txid, err)
	}
	if a.source == b.source && v != nil {
		b.view = v
	}
	if changed == nil {
		return nil, nil
	}
	return roaring.Values(changed), nil
}

// between returns the pages that changed between two views, and the later view as a view
// that is built on the earlier one. Both are nil if no files between the views show the
// changes.
func (s *source) between(ctx context.Context, from, to *view) (*roaring.Bitmap, *view, error) {
	changed := roaring.New()
	if from.txid == to.txid {
		return changed, from, nil
	}
	if from.pageSize != to.pageSize {
		return nil, nil, nil
	}
	listed, err := s.replica.Files(ctx)
	if err != nil {
		return nil, nil, err
	}
	for {
		chain := chainBetween(listed, from, to)
		if chain == nil {
			return nil, nil, nil
		}
		files, err := s.loadAll(ctx, listed, chain)
		if bad, ok := badFile(err); ok {
			s.log.Warn("replica file cannot be used, reading other files", "error", err)
			listed = listed.Without(bad)
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		v := from
		for _, f := range files {
			if v.precedes(f) != nil { // the page size changed, and changed back
				return nil, nil, nil
			}
			for e := range f.index.All() {
				changed.Add(e.Number)
			}
			v = v.with(f)
		}
		return changed, v, nil
	}
}

// fewChanges is how many pages may change before a comparison waits for the index of the
// whole database.
const fewChanges = 16

// prepare loads the index of the whole database that a comparison reads. If many pages
// changed, it waits for an index that is not loaded yet: without the index, each isolated
// page takes a window of the index, which is one more request.
func (s *source) prepare(ctx context.Context, base *file, changed *roaring.Bitmap) error {
	if changed == nil || changed.GetCardinality() <= fewChanges {
		s.loadIndex(base)
		return nil
	}
	if base.mayLoad() {
		s.fetchIndex(ctx, base)
	}
	return context.Cause(ctx)
}

// fileCost is the cost of one more file in bytes: the requests for its index.
const fileCost = 128 << 10

// chainBetween chooses the files with the fewest bytes that lead from one view to a later
// one, nil if no files do. A whole database does not show what changed.
func chainBetween(listed replica.Files, from, to *view) []format.FileInfo {
	type step struct {
		txid   format.TXID
		cost   int64
		before int // index of the previous step
		file   format.FileInfo
	}
	infos := slices.DeleteFunc(listed.Infos(), func(f format.FileInfo) bool {
		return f.MinTXID <= 1 || f.MinTXID > to.txid || f.MaxTXID <= from.txid || f.MaxTXID > to.txid
	})
	slices.SortFunc(infos, func(f, g format.FileInfo) int {
		return cmp.Or(cmp.Compare(f.MaxTXID, g.MaxTXID), cmp.Compare(g.MinTXID, f.MinTXID))
	})
	steps := []step{{txid: from.txid}} // by TXID, at most one for each TXID
	for _, f := range infos {
		best := -1
		end := sort.Search(len(steps), func(i int) bool { return steps[i].txid >= f.MaxTXID })
		for i := end - 1; i >= 0 && steps[i].txid+1 >= f.MinTXID; i-- {
			if best < 0 || steps[i].cost < steps[best].cost {
				best = i
			}
		}
		if best < 0 {
			continue
		}
		cost := steps[best].cost + f.Size
		if !from.uses(f) && !to.uses(f) {
			cost += fileCost
		}
		s := step{f.MaxTXID, cost, best, f}
		if end == len(steps) {
			steps = append(steps, s)
		} else if cost < steps[end].cost {
			steps[end] = s
		}
	}
	i := len(steps) - 1
	if steps[i].txid != to.txid {
		return nil
	}
	var chain []format.FileInfo
	for ; i > 0; i = steps[i].before {
		chain = append(chain, steps[i].file)
	}
	slices.Reverse(chain)
	return chain
}
