package diff

import (
	"context"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
)

// withoutRowid decides which tables without a rowid are read: tables with another root or
// schema, tables with a changed page in their b-trees, or all if the owner of a page was
// not found.
func (d *Diff) withoutRowid(ctx context.Context, c *changes) error {
	for _, t := range d.all {
		if t.kind[earlier] != withoutRowid || t.kind[later] != withoutRowid {
			continue
		}
		touched := !c.loose.IsEmpty() || t.roots[earlier] != t.roots[later] || t.shape[earlier].sql != t.shape[later].sql
		if !touched {
			var err error
			if touched, err = d.sides[later].touched(ctx, t.roots[later], c.index); err != nil {
				return err
			}
		}
		if touched {
			t.byContent("it has no rowid")
		} else {
			t.paged = true
		}
	}
	return nil
}

// touched reports whether a set contains a page of an index's b-tree. It reads the
// interior pages.
func (s *side) touched(ctx context.Context, root uint32, set *roaring.Bitmap) (bool, error) {
	if set.IsEmpty() {
		return false, nil
	}
	pgnos := []uint32{root}
	for range mostHeight {
		if slices.ContainsFunc(pgnos, set.Contains) {
			return true, nil
		}
		first, err := s.state.Page(ctx, pgnos[0])
		if err != nil {
			return false, err
		}
		if indexChildren(pgnos[0], first, s.usable) == nil {
			return false, nil
		}
		var below []uint32
		err = s.each(ctx, pgnos, func(pgno uint32, page []byte) error {
			below = append(below, indexChildren(pgno, page, s.usable)...)
			return nil
		})
		if err != nil {
			return false, err
		}
		pgnos = below
	}
	return false, corrupt("the b-tree at page %d of TXID %s has no leaves", root, s.state.TXID())
}
