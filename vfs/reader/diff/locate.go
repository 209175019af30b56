package diff

import (
	"context"
	"maps"
	"slices"
)

// A probe is a page to search for in the b-trees of tables, with a key that is on or
// below it.
type probe struct {
	pgno    uint32
	key     int64
	leaf    bool
	columns int // of a row on the leaf
}

// probeOf returns the probe of a page that has the form of a page of a table's b-tree. A
// page without keys cannot be searched for: only a root has none.
func probeOf(pgno uint32, n node) probe {
	p := probe{pgno: pgno, leaf: n.leaf}
	switch {
	case len(n.cells) > 0:
		p.key = n.cells[0].key
		p.columns = columnsOf(n.cells[0])
	case len(n.keys) > 0:
		p.key = n.keys[0]
	}
	return p
}

// columnsOf returns the number of columns of a row:
// https://sqlite.org/fileformat2.html#record_format
func columnsOf(c cell) (n int) {
	_, a := varint(c.bytes)
	_, b := varint(c.bytes[a:])
	record := c.bytes[a+b:]
	size, used := varint(record)
	end := min(int(min(size, 1<<30)), len(record))
	for used > 0 && used < end {
		_, m := varint(record[used:])
		if m == 0 {
			break
		}
		used += m
		n++
	}
	return n
}

// A position is the place of a page in a b-tree.
type position struct {
	table *Table
	depth int // below the root
}

// locate searches for pages in the b-trees of some tables. A page is in a b-tree if, and
// only if, the search for a key below the page comes to it.
func (s *side) locate(ctx context.Context, tables []*Table, root func(*Table) uint32, probes []probe) (map[uint32]position, error) {
	type search struct {
		table  *Table
		pgno   uint32
		probes []probe
	}
	found := map[uint32]position{}
	var searches []search
	for _, t := range tables {
		searches = append(searches, search{t, root(t), probes})
		for _, p := range probes {
			if p.pgno == root(t) {
				found[p.pgno] = position{t, 0}
			}
		}
	}
	for depth := 0; len(searches) > 0; depth++ {
		if depth == mostHeight {
			return nil, corrupt("a b-tree of TXID %s has no leaves", s.state.TXID())
		}
		pgnos := map[uint32]bool{}
		for i := range searches {
			sr := &searches[i]
			sr.probes = slices.DeleteFunc(slices.Clone(sr.probes), func(p probe) bool { _, ok := found[p.pgno]; return ok })
			if len(sr.probes) > 0 {
				pgnos[sr.pgno] = true
			}
		}
		nodes := map[uint32]node{}
		err := s.each(ctx, slices.Sorted(maps.Keys(pgnos)), func(pgno uint32, page []byte) (err error) {
			nodes[pgno], err = s.node(pgno, page)
			return err
		})
		if err != nil {
			return nil, err
		}
		var below []search
		for _, sr := range searches {
			n := nodes[sr.pgno]
			if len(sr.probes) == 0 || n.leaf {
				continue
			}
			byChild := make([][]probe, len(n.children))
			for _, p := range sr.probes {
				i, _ := slices.BinarySearch(n.keys, p.key)
				byChild[i] = append(byChild[i], p)
			}
			for i, probes := range byChild {
				for _, p := range probes {
					if p.pgno == n.children[i] {
						found[p.pgno] = position{sr.table, depth + 1}
					}
				}
				if len(probes) > 0 {
					below = append(below, search{sr.table, n.children[i], probes})
				}
			}
		}
		searches = below
	}
	return found, nil
}

// samples is how many pages owners searches for in all tables. Most changes are in few
// tables, so the tables with the samples usually have the other pages, too.
const samples = 4

// owners finds the tables that changed pages of the later state belong to: a page is in
// only one b-tree. It reads the ancestors of a page in its own b-tree, and as few pages
// as possible of other b-trees. It first searches tables whose rows have as many columns
// as the page's, and among these, the tables with the samples.
func (s *side) owners(ctx context.Context, tables []*Table, probes []probe) (map[uint32]position, error) {
	root := func(t *Table) uint32 { return t.roots[later] }
	found := map[uint32]position{}
	roots := map[uint32]*Table{}
	for _, t := range tables {
		roots[root(t)] = t
	}
	var left []probe
	likely := map[int]bool{}
	for _, p := range probes {
		if t := roots[p.pgno]; t != nil {
			found[p.pgno] = position{t, 0}
			continue
		}
		left = append(left, p)
		if p.leaf {
			likely[p.columns] = true
		}
	}
	counts := map[*Table]int{}
	look := func(tables []*Table, probes []probe) error {
		if len(tables) == 0 || len(probes) == 0 {
			return nil
		}
		more, err := s.locate(ctx, tables, root, probes)
		for pgno, p := range more {
			found[pgno] = p
			counts[p.table]++
		}
		left = slices.DeleteFunc(left, func(p probe) bool { _, ok := found[p.pgno]; return ok })
		return err
	}
	var first, rest []*Table
	for _, t := range tables {
		if likely[t.stored] {
			first = append(first, t)
		} else {
			rest = append(rest, t)
		}
	}
	for _, some := range [][]*Table{first, rest} {
		var few []probe
		for i := range min(samples, len(left)) {
			few = append(few, left[i*len(left)/samples%len(left)])
		}
		if err := look(some, few); err != nil {
			return nil, err
		}
		slices.SortStableFunc(some, func(a, b *Table) int { return counts[b] - counts[a] })
		n := 0
		for ; n < len(some) && counts[some[n]] > 0; n++ {
			if err := look(some[n:n+1], left); err != nil {
				return nil, err
			}
		}
		if len(left) == 0 {
			break
		}
		free, err := s.freelist(ctx)
		if err != nil {
			return nil, err
		}
		left = slices.DeleteFunc(left, func(p probe) bool { return free.Contains(p.pgno) })
		if err := look(some[n:], left); err != nil {
			return nil, err
		}
	}
	return found, nil
}
