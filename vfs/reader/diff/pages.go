package diff

import (
	"context"
	"errors"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
)

// changes are the changed pages of the later state, by what they may be in it.
type changes struct {
	probes []probe         // of a table's b-tree
	index  *roaring.Bitmap // of an index's b-tree
	loose  *roaring.Bitmap // pages that both states have and that may be in a row's tail
}

// looksFree is the size of a database, in pages, from which on an overflow page can look
// like a page of a b-tree: it begins with the number of the next page, whose first byte
// may be 2.
const looksFree = 2 << 24

// mayOverflow reports whether a page can be in a row's tail.
func (s *side) mayOverflow(pgno uint32, page []byte) bool {
	if _, itself := s.pointerMap(pgno); itself || pgno == 1 {
		return false
	}
	return page[0] < interiorIndex || s.state.Pages() >= looksFree
}

// sort reads all changed pages of the later state.
func (d *Diff) sort(ctx context.Context) (*changes, error) {
	c := &changes{index: roaring.New(), loose: roaring.New()}
	s := d.sides[later]
	pgnos := d.changed.Clone()
	pgnos.RemoveRange(uint64(s.state.Pages())+1, 1<<32)
	all := pgnos.ToArray()
	return c, s.each(ctx, all, func(pgno uint32, page []byte) error {
		if _, itself := s.pointerMap(pgno); itself {
			return nil
		}
		if n, ok := parseTable(pgno, page, s.usable); ok {
			c.probes = append(c.probes, probeOf(pgno, n))
		}
		if t := pageType(pgno, page); t == interiorIndex || t == leafIndex {
			c.index.Add(pgno)
		}
		if s.mayOverflow(pgno, page) && pgno <= d.sides[earlier].state.Pages() {
			c.loose.Add(pgno)
		}
		return nil
	})
}

// analyse finds the rows that may differ in all tables that can be compared by pages.
func (d *Diff) analyse(ctx context.Context) error {
	c, err := d.sort(ctx)
	if err != nil {
		return err
	}
	owners, err := d.sides[later].owners(ctx, d.stored(later), c.probes)
	if err != nil {
		return err
	}
	x := &explainer{diff: d, changes: c, found: map[*Table]*found{}, more: map[*Table][]candidate{}}
	both, err := d.inBoth(ctx, owners)
	if err != nil {
		return err
	}
	for _, t := range d.all {
		if !t.paged {
			continue
		}
		if t.roots[earlier] == t.roots[later] && len(both[t]) == 0 {
			continue
		}
		f, err := d.walk(ctx, t, both[t])
		if errors.Is(err, errMany) {
			t.byContent("so much of it changed that it is read as a whole")
			continue
		}
		if err != nil {
			return err
		}
		x.found[t] = f
		t.candidates = f.candidates()
	}
	if err := x.otherTails(ctx, owners); err != nil {
		return err
	}
	if err := x.explain(ctx); err != nil {
		return err
	}
	for t, more := range x.more {
		for _, c := range more {
			if !has(t.candidates, c.key) {
				t.candidates = append(t.candidates, c)
				t.sortCandidates()
			}
		}
	}
	return d.withoutRowid(ctx, c)
}

// stored returns the tables of a state whose rows are found by their rowids.
func (d *Diff) stored(i int) (tables []*Table) {
	for _, t := range d.all {
		if t.roots[i] != 0 && t.kind[i] == rowidTable {
			tables = append(tables, t)
		}
	}
	return tables
}

// inBoth returns the changed pages that are in the b-tree of the same table in both
// states, with their depths.
func (d *Diff) inBoth(ctx context.Context, owners map[uint32]position) (map[*Table]map[uint32][2]int, error) {
	both := map[*Table]map[uint32][2]int{}
	s := d.sides[earlier]
	probes := map[*Table][]probe{}
	var pgnos []uint32
	for pgno, p := range owners {
		if p.table.paged && pgno <= s.state.Pages() {
			pgnos = append(pgnos, pgno)
		}
	}
	slices.Sort(pgnos)
	err := s.each(ctx, pgnos, func(pgno uint32, page []byte) error {
		if n, ok := parseTable(pgno, page, s.usable); ok {
			t := owners[pgno].table
			probes[t] = append(probes[t], probeOf(pgno, n))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, t := range d.all {
		if len(probes[t]) == 0 {
			continue
		}
		found, err := s.locate(ctx, []*Table{t}, func(t *Table) uint32 { return t.roots[earlier] }, probes[t])
		if err != nil {
			return nil, err
		}
		both[t] = map[uint32][2]int{}
		for pgno, p := range found {
			both[t][pgno] = [2]int{p.depth, owners[pgno].depth}
		}
	}
	return both, nil
}
