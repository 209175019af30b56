package diff

import (
	"cmp"
	"context"
	"errors"
	"hash/maphash"
	"maps"
	"slices"
)

// A candidate is a row that may differ.
type candidate struct {
	key   int64
	pages [2]uint32 // the leaf with the row in each state, 0 if unknown
}

// A row is a row on a leaf that differs.
type row struct {
	key  int64
	page uint32
	sum  uint64 // of the bytes on the leaf
}

// A tail is the part of a row that is not on its leaf.
type tail struct {
	key   int64
	first uint32 // overflow page
	rest  int64  // bytes
}

// found is what the pages of one table's b-trees contain.
type found struct {
	rows  [2][]row
	tails [2][]tail
}

// mostLeaves is how many leaves of a table are compared, of both states together. With
// more leaves, reading the table in its order is better.
const mostLeaves = 100_000

var errMany = errors.New("too many pages differ to look at each page")

var seed = maphash.MakeSeed()

func (f *found) add(i int, pgno uint32, c cell) {
	f.rows[i] = append(f.rows[i], row{c.key, pgno, maphash.Bytes(seed, c.bytes)})
	if c.rest > 0 {
		f.tails[i] = append(f.tails[i], tail{c.key, c.overflow, c.rest})
	}
}

// candidates returns the rows that are not the same on leaves of both states, and drops
// the tails of all other rows.
func (f *found) candidates() []candidate {
	for i := range f.rows {
		slices.SortFunc(f.rows[i], func(a, b row) int { return cmp.Compare(a.key, b.key) })
	}
	var all []candidate
	a, b := f.rows[earlier], f.rows[later]
	for len(a)+len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].key < b[0].key:
			all = append(all, candidate{a[0].key, [2]uint32{a[0].page, 0}})
			a = a[1:]
		case len(a) == 0 || b[0].key < a[0].key:
			all = append(all, candidate{b[0].key, [2]uint32{0, b[0].page}})
			b = b[1:]
		default:
			if a[0].sum != b[0].sum {
				all = append(all, candidate{a[0].key, [2]uint32{a[0].page, b[0].page}})
			}
			a, b = a[1:], b[1:]
		}
	}
	for i := range f.tails {
		f.tails[i] = slices.DeleteFunc(f.tails[i], func(t tail) bool { return !has(all, t.key) })
	}
	return all
}

func has(sorted []candidate, key int64) bool {
	_, ok := slices.BinarySearchFunc(sorted, key, func(c candidate, key int64) int { return cmp.Compare(c.key, key) })
	return ok
}

// walk compares the two b-trees of a table from the top, level by level. At has the
// depths of the changed pages that are in both b-trees: they may be below unchanged
// pages.
func (d *Diff) walk(ctx context.Context, t *Table, at map[uint32][2]int) (*found, error) {
	var heights [2]int
	for i := range d.sides {
		var err error
		if heights[i], err = d.sides[i].height(ctx, t.roots[i]); err != nil {
			return nil, err
		}
	}
	top := max(heights[earlier], heights[later])
	var levels [2][]map[uint32]bool // by state and height: pages to read
	for i := range levels {
		for range top + 1 {
			levels[i] = append(levels[i], map[uint32]bool{})
		}
		levels[i][heights[i]][t.roots[i]] = true
		for pgno, depths := range at {
			if depths[i] > heights[i] {
				return nil, corrupt("the b-tree of table %s has leaves at different heights", t.Name)
			}
			levels[i][heights[i]-depths[i]][pgno] = true
		}
	}
	f := &found{}
	for level := top; level > 0; level-- {
		for i := range d.sides {
			pgnos, shared := d.split(i, levels, level)
			err := d.nodes(ctx, i, append(pgnos, shared...), false, func(_ uint32, n node) {
				for _, child := range n.children {
					levels[i][level-1][child] = true
				}
			})
			if err != nil {
				return nil, err
			}
		}
	}
	for i := range d.sides {
		pgnos, shared := d.split(i, levels, 0)
		if len(pgnos)+len(shared) > mostLeaves {
			return nil, errMany
		}
		err := d.nodes(ctx, i, pgnos, true, func(pgno uint32, n node) {
			for _, c := range n.cells {
				f.add(i, pgno, c)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	_, shared := d.split(earlier, levels, 0)
	return f, d.compareLeaves(ctx, f, shared)
}

// split returns the pages of one state to read at one height: pages that are only in its
// b-tree, and changed pages that are in both.
func (d *Diff) split(i int, levels [2][]map[uint32]bool, level int) (only, shared []uint32) {
	for _, pgno := range slices.Sorted(maps.Keys(levels[i][level])) {
		switch {
		case !levels[1-i][level][pgno]:
			only = append(only, pgno)
		case d.changed.Contains(pgno):
			shared = append(shared, pgno)
		}
	}
	return only, shared
}

// nodes calls fn with pages of one state, which must all be leaves or all be interior
// pages.
func (d *Diff) nodes(ctx context.Context, i int, pgnos []uint32, leaf bool, fn func(pgno uint32, n node)) error {
	s := d.sides[i]
	return s.each(ctx, pgnos, func(pgno uint32, page []byte) error {
		n, err := s.node(pgno, page)
		if err == nil && n.leaf != leaf {
			err = corrupt("a b-tree of TXID %s has leaves at different heights, page %d among them", s.state.TXID(), pgno)
		}
		if err == nil {
			fn(pgno, n)
		}
		return err
	})
}

// compareLeaves compares leaves that are in both states, in chunks.
func (d *Diff) compareLeaves(ctx context.Context, f *found, shared []uint32) error {
	for some := range slices.Chunk(shared, 256) {
		before := map[uint32]node{}
		err := d.nodes(ctx, earlier, some, true, func(pgno uint32, n node) { before[pgno] = n })
		if err != nil {
			return err
		}
		err = d.nodes(ctx, later, some, true, func(pgno uint32, n node) { f.compare(pgno, before[pgno].cells, n.cells) })
		if err != nil {
			return err
		}
	}
	return nil
}

// compare adds the differing rows of a leaf that is in both states.
func (f *found) compare(pgno uint32, a, b []cell) {
	for len(a)+len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].key < b[0].key:
			f.add(earlier, pgno, a[0])
			a = a[1:]
		case len(a) == 0 || b[0].key < a[0].key:
			f.add(later, pgno, b[0])
			b = b[1:]
		default:
			if string(a[0].bytes) != string(b[0].bytes) {
				f.add(earlier, pgno, a[0])
				f.add(later, pgno, b[0])
			}
			a, b = a[1:], b[1:]
		}
	}
}
