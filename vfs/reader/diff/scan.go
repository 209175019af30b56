package diff

import (
	"context"

	"github.com/RoaringBitmap/roaring/v2"
)

// heads guesses the first pages of the tails that contain loose pages. Most tails were
// written in order.
func (x *explainer) heads(ctx context.Context) (*roaring.Bitmap, error) {
	const most = 1 << 16 // pages
	s := x.diff.sides[later]
	heads := roaring.New()
	read := 0
	for _, pgno := range x.changes.loose.ToArray() {
		for heads.CheckedAdd(pgno) && pgno > 2 && read < most {
			page, err := s.state.Page(ctx, pgno-1)
			if err != nil {
				return nil, err
			}
			read++
			if !s.mayOverflow(pgno-1, page) || next(page) != pgno {
				break
			}
			pgno--
		}
	}
	return heads, nil
}

// scan reads all leaves of the tables, and the tails that begin with one of the heads, or
// all tails if guess is nil.
func (x *explainer) scan(ctx context.Context, guess func(context.Context) (*roaring.Bitmap, error)) error {
	var heads *roaring.Bitmap
	if guess != nil {
		var err error
		if heads, err = guess(ctx); err != nil {
			return err
		}
	}
	s := x.diff.sides[later]
	for _, t := range x.diff.all {
		if !t.paged || !t.wanted || x.changes.loose.IsEmpty() {
			continue
		}
		err := s.leaves(ctx, t.roots[later], func(leaf uint32, n node) error {
			var tails []tail
			for _, c := range n.cells {
				if c.rest > 0 && (heads == nil || heads.Contains(c.overflow)) {
					tails = append(tails, tail{c.key, c.overflow, c.rest})
				}
			}
			return s.chains(ctx, tails, func(tl tail, pgno uint32) bool {
				if x.changes.loose.CheckedRemove(pgno) {
					x.more[t] = append(x.more[t], candidate{tl.key, [2]uint32{leaf, leaf}})
				}
				return true
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// leaves calls fn with all leaves of a table, in order.
func (s *side) leaves(ctx context.Context, root uint32, fn func(pgno uint32, n node) error) error {
	height, err := s.height(ctx, root)
	if err != nil {
		return err
	}
	pgnos := []uint32{root}
	for range height {
		var below []uint32
		err := s.each(ctx, pgnos, func(pgno uint32, page []byte) error {
			n, err := s.node(pgno, page)
			below = append(below, n.children...)
			return err
		})
		if err != nil {
			return err
		}
		pgnos = below
	}
	return s.each(ctx, pgnos, func(pgno uint32, page []byte) error {
		n, err := s.node(pgno, page)
		if err != nil {
			return err
		}
		return fn(pgno, n)
	})
}
