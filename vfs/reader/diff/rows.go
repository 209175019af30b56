package diff

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// An Op is what happened to a row.
type Op int

const (
	Inserted Op = iota
	Changed
	Deleted
)

// String returns the name used in JSON.
func (o Op) String() string { return [...]string{"insert", "update", "delete"}[o] }

// A Change is a row that differs. Values are nil, int64, float64, string and []byte, in
// the order of [Table.Columns].
type Change struct {
	Op       Op
	Old, New []any // nil if the state lacks the row
	OldRowid int64 // of tables with a rowid
	NewRowid int64
}

// Rows calls fn with the rows of a table that differ.
func (d *Diff) Rows(ctx context.Context, t *Table, fn func(Change) error) error {
	if !t.paged && t.why != "" {
		d.note(fmt.Sprintf("table %s: %s; reading all of it", t.Name, t.why))
	}
	err := d.rows(ctx, t, fn)
	if err = cause(ctx, err); err != nil {
		return fmt.Errorf("compare table %s: %w", t.Name, err)
	}
	return nil
}

func (d *Diff) rows(ctx context.Context, t *Table, fn func(Change) error) error {
	switch {
	case t.Created():
		return d.wholeState(t, later, fn)
	case t.Dropped():
		return d.wholeState(t, earlier, fn)
	case t.kind[earlier] == rowidTable && t.kind[later] == rowidTable:
		p, err := d.newPairing(t, fn)
		defer p.close()
		switch {
		case err != nil:
			return err
		case t.paged:
			return d.byCandidates(ctx, t, p)
		}
		return d.byRowid(t, p)
	case t.paged:
		return nil
	case len(t.Key) > 0:
		return d.byKey(t, fn)
	}
	if err := d.wholeState(t, earlier, fn); err != nil {
		return err
	}
	return d.wholeState(t, later, fn)
}

// wholeState reports all rows of one state as deleted or inserted.
func (d *Diff) wholeState(t *Table, i int, fn func(Change) error) error {
	c, err := d.cursor(i, t.selectFrom(i))
	defer c.close()
	for err == nil && c.now != nil {
		if i == earlier {
			err = fn(deleted(c.now))
		} else {
			err = fn(inserted(c.now))
		}
		if err == nil {
			err = c.next()
		}
	}
	return err
}

func deleted(r *record) Change  { return Change{Op: Deleted, Old: r.values, OldRowid: r.rowid} }
func inserted(r *record) Change { return Change{Op: Inserted, New: r.values, NewRowid: r.rowid} }

// byCandidates reads the rows that may differ.
func (d *Diff) byCandidates(ctx context.Context, t *Table, p *pairing) error {
	var get [2]*getter
	for i := range get {
		var err error
		if get[i], err = d.getter(i, t.selectFrom(i)+" WHERE "+Quote(t.shape[i].rowid)+" = ?"); err != nil {
			return err
		}
		defer get[i].st.Close()
	}
	for some := range slices.Chunk(t.candidates, 256) {
		for i, s := range d.sides {
			var leaves []uint32
			for _, c := range some {
				leaves = append(leaves, c.pages[i])
			}
			slices.Sort(leaves)
			s.state.Fetch(slices.Compact(leaves))
		}
		for _, c := range some {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			a, err := get[earlier].get(c.key)
			if err != nil {
				return err
			}
			b, err := get[later].get(c.key)
			if err != nil {
				return err
			}
			if err := p.rows(a, b); err != nil {
				return err
			}
		}
	}
	return nil
}

// byRowid reads both states of a table in the order of their rowids.
func (d *Diff) byRowid(t *Table, p *pairing) error {
	var cursors [2]*cursor
	for i := range cursors {
		var err error
		cursors[i], err = d.cursor(i, t.selectFrom(i)+" ORDER BY "+Quote(t.shape[i].rowid))
		defer cursors[i].close()
		if err != nil {
			return err
		}
	}
	a, b := cursors[earlier], cursors[later]
	for a.now != nil || b.now != nil {
		var old, now *record
		if a.now != nil && (b.now == nil || a.now.rowid <= b.now.rowid) {
			old = a.now
		}
		if b.now != nil && (a.now == nil || b.now.rowid <= a.now.rowid) {
			now = b.now
		}
		if err := p.rows(old, now); err != nil {
			return err
		}
		if old != nil {
			if err := a.next(); err != nil {
				return err
			}
		}
		if now != nil {
			if err := b.next(); err != nil {
				return err
			}
		}
	}
	return nil
}

// byKey reads both states of a table in the order of their keys, whatever that order is.
// Where the keys differ, it searches the other state for one row.
func (d *Diff) byKey(t *Table, fn func(Change) error) error {
	p, err := d.newPairing(t, fn)
	defer p.close()
	if err != nil {
		return err
	}
	if t.shape[earlier].sql != t.shape[later].sql {
		return d.byLookup(t, p)
	}
	var keys []string
	for _, k := range t.Key {
		keys = append(keys, Quote(k))
	}
	var cursors [2]*cursor
	for i := range cursors {
		cursors[i], err = d.cursor(i, t.selectFrom(i)+" ORDER BY "+strings.Join(keys, ", "))
		defer cursors[i].close()
		if err != nil {
			return err
		}
	}
	a, b := cursors[earlier], cursors[later]
	for err == nil && (a.now != nil || b.now != nil) {
		var other *record
		switch {
		case a.now != nil && b.now != nil && p.sameKey(a.now, b.now):
			if err = p.compare(a.now, b.now); err == nil {
				err = a.next()
			}
			if err == nil {
				err = b.next()
			}
			continue
		case a.now != nil:
			if other, err = p.find(later, a.now); err != nil {
				return err
			}
			if other == nil {
				if err = fn(deleted(a.now)); err == nil {
					err = a.next()
				}
				continue
			}
			if b.now == nil {
				return corrupt("table %s is in another order at TXID %s than at %s", t.Name, d.sides[earlier].state.TXID(), d.sides[later].state.TXID())
			}
		}
		if err = fn(inserted(b.now)); err == nil {
			err = b.next()
		}
	}
	return err
}

// byLookup searches the other state for each row of a state: the order of the keys may
// have changed.
func (d *Diff) byLookup(t *Table, p *pairing) error {
	for i := range d.sides {
		c, err := d.cursor(i, t.selectFrom(i))
		for err == nil && c.now != nil {
			if i == earlier {
				err = p.rows(c.now, nil)
			} else {
				err = p.rows(nil, c.now)
			}
			if err == nil {
				err = c.next()
			}
		}
		c.close()
		if err != nil {
			return err
		}
	}
	return nil
}
