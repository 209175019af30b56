package diff

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
)

// An explainer finds rows that changed in their tails alone. SQLite rewrites overflow
// pages in place if a row keeps its size, and when a program writes a blob incrementally;
// the leaf of the row does not change. Such a page belongs to the same tail in both
// states, so a page that is something else in one state needs no further search.
type explainer struct {
	diff    *Diff
	changes *changes
	found   map[*Table]*found
	tails   []tail // of the later state, of tables that are not compared by pages
	more    map[*Table][]candidate
}

// otherTails records the tails on changed leaves of tables that are not compared by
// pages.
func (x *explainer) otherTails(ctx context.Context, owners map[uint32]position) error {
	var pgnos []uint32
	for pgno, p := range owners {
		if x.found[p.table] == nil {
			pgnos = append(pgnos, pgno)
		}
	}
	slices.Sort(pgnos)
	s := x.diff.sides[later]
	return s.each(ctx, pgnos, func(pgno uint32, page []byte) error {
		n, err := s.node(pgno, page)
		for _, c := range n.cells {
			if c.rest > 0 {
				x.tails = append(x.tails, tail{c.key, c.overflow, c.rest})
			}
		}
		return err
	})
}

// explain removes the pages that need no search from the loose pages, the cheapest checks
// first, and finds the rows of the remaining pages.
func (x *explainer) explain(ctx context.Context) error {
	d, loose := x.diff, x.changes.loose
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return x.newTails(ctx, later) },
		func(ctx context.Context) error { return x.unused(ctx, later) },
		func(ctx context.Context) error { return x.unused(ctx, earlier) },
		x.wereOther,
		func(ctx context.Context) error { return x.newTails(ctx, earlier) },
		func(ctx context.Context) error {
			if d.sides[later].vacuum {
				return x.pointers(ctx)
			}
			d.note(fmt.Sprintf("%d pages of large rows may have changed in place; reading the tables to find the rows", loose.GetCardinality()))
			if err := x.scan(ctx, x.heads); err != nil || loose.IsEmpty() {
				return err
			}
			return x.scan(ctx, nil)
		},
	} {
		if loose.IsEmpty() {
			return nil
		}
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// newTails removes the pages in tails of rows that are compared anyway.
func (x *explainer) newTails(ctx context.Context, i int) error {
	var tails []tail
	if i == later {
		tails = x.tails
	}
	for _, t := range x.diff.all {
		if f := x.found[t]; f != nil {
			tails = append(tails, f.tails[i]...)
		}
	}
	return x.diff.sides[i].chains(ctx, tails, func(_ tail, pgno uint32) bool {
		x.changes.loose.Remove(pgno)
		return !x.changes.loose.IsEmpty()
	})
}

// unused removes the pages in the freelist, and the pages in entries on changed pages of
// indexes.
func (x *explainer) unused(ctx context.Context, i int) error {
	s := x.diff.sides[i]
	free, err := s.freelist(ctx)
	if err != nil {
		return err
	}
	x.changes.loose.AndNot(free)
	if i == earlier || x.changes.loose.IsEmpty() || s.state.Pages() >= looksFree {
		return nil
	}
	live := roaring.AndNot(x.changes.index, free)
	var tails []tail
	err = s.each(ctx, live.ToArray(), func(pgno uint32, page []byte) error {
		tails = append(tails, indexTails(page, s.usable)...)
		return nil
	})
	if err != nil {
		return err
	}
	return s.chains(ctx, tails, func(_ tail, pgno uint32) bool {
		x.changes.loose.Remove(pgno)
		return !x.changes.loose.IsEmpty()
	})
}

// indexTails returns the tails of the entries on a page of an index. The page must not be
// page 1.
func indexTails(page []byte, usable int) (tails []tail) {
	count, size, skip := int(binary.BigEndian.Uint16(page[3:])), 8, 0
	if page[0] == interiorIndex {
		size, skip = 12, 4
	}
	for i := range min(count, (usable-size)/2) {
		at := int(binary.BigEndian.Uint16(page[size+2*i:])) + skip
		if at >= usable {
			continue
		}
		payload, n := varint(page[at:usable])
		if payload > 1<<31 {
			continue
		}
		local := indexLocalSize(int64(payload), usable)
		end := at + n + int(local)
		if n > 0 && int64(payload) > local && end+4 <= usable {
			tails = append(tails, tail{0, binary.BigEndian.Uint32(page[end:]), int64(payload) - local})
		}
	}
	return tails
}

// indexLocalSize returns how many bytes of an entry are on its page.
func indexLocalSize(payload int64, usable int) int64 {
	u := int64(usable)
	most := (u-12)*64/255 - 23
	if payload <= most {
		return payload
	}
	least := (u-12)*32/255 - 23
	if local := least + (payload-least)%(u-4); local <= most {
		return local
	}
	return least
}

// wereOther removes pages that cannot have been in a tail before.
func (x *explainer) wereOther(ctx context.Context) error {
	s := x.diff.sides[earlier]
	return s.each(ctx, x.changes.loose.ToArray(), func(pgno uint32, page []byte) error {
		if !s.mayOverflow(pgno, page) {
			x.changes.loose.Remove(pgno)
		}
		return nil
	})
}

// chains calls fn with the pages of tails, following all tails in parallel, until fn
// returns false.
func (s *side) chains(ctx context.Context, tails []tail, fn func(t tail, pgno uint32) bool) error {
	type chain struct {
		tail tail
		left int64 // pages
	}
	now := map[uint32]chain{}
	for _, t := range tails {
		now[t.first] = chain{t, (t.rest + int64(s.usable) - 5) / int64(s.usable-4)}
	}
	for len(now) > 0 {
		for _, pgno := range slices.Sorted(maps.Keys(now)) {
			c := now[pgno]
			if !fn(c.tail, pgno) {
				return nil
			}
			if c.left <= 1 {
				delete(now, pgno)
			}
		}
		following := map[uint32]chain{}
		err := s.each(ctx, slices.Sorted(maps.Keys(now)), func(pgno uint32, page []byte) error {
			c := now[pgno]
			if to := next(page); to != 0 {
				following[to] = chain{c.tail, c.left - 1}
			}
			return nil
		})
		if err != nil {
			return err
		}
		now = following
	}
	return nil
}

// pointers finds the rows with the pointer map.
func (x *explainer) pointers(ctx context.Context) error {
	const first, following = 3, 4
	s := x.diff.sides[later]
	heads := map[uint32]uint32{} // from the first overflow page of a tail to the page that refers to it
	for _, pgno := range x.changes.loose.ToArray() {
		for steps := s.state.Pages(); ; steps-- {
			at, _ := s.pointerMap(pgno)
			page, err := s.state.Page(ctx, at)
			if err != nil {
				return err
			}
			if steps == 0 || pgno <= at || int(pgno-at)*5 > s.usable {
				return corrupt("the pointer map of TXID %s goes round at page %d", s.state.TXID(), pgno)
			}
			entry := page[5*(pgno-at-1):]
			parent := binary.BigEndian.Uint32(entry[1:])
			if entry[0] == first {
				heads[pgno] = parent
			}
			if entry[0] != following {
				break
			}
			pgno = parent
		}
	}
	leaves := map[uint32]node{}
	var probes []probe
	err := s.each(ctx, slices.Compact(slices.Sorted(maps.Values(heads))), func(pgno uint32, page []byte) error {
		n, ok := parseTable(pgno, page, s.usable)
		if !ok {
			x.changes.index.Add(pgno)
			return nil
		}
		leaves[pgno] = n
		probes = append(probes, probeOf(pgno, n))
		return nil
	})
	if err != nil {
		return err
	}
	owners, err := s.owners(ctx, x.diff.stored(later), probes)
	if err != nil {
		return err
	}
	for head, pgno := range heads {
		for _, c := range leaves[pgno].cells {
			if t := owners[pgno].table; t != nil && c.overflow == head {
				x.more[t] = append(x.more[t], candidate{c.key, [2]uint32{pgno, pgno}})
			}
		}
	}
	x.changes.loose.Clear()
	return nil
}
