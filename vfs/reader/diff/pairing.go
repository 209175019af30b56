package diff

import (
	"strings"
)

// pairing finds out what happened to rows. Rows of two states are the same row if they
// have the same primary key, byte for byte; without a primary key, or with a NULL in it,
// if they have the same rowid.
type pairing struct {
	table *Table
	byKey [2]*getter // nil if the rowid is the key
	keys  [2][]int   // indexes of the key's columns, by state
	fn    func(Change) error
}

func (d *Diff) newPairing(t *Table, fn func(Change) error) (*pairing, error) {
	p := &pairing{table: t, fn: fn}
	if len(t.Key) == 0 || t.shape[later].alias && t.shape[earlier].alias {
		return p, nil
	}
	for i := range p.byKey {
		var where []string
		for _, k := range t.Key {
			where = append(where, Quote(k)+" = ?")
			p.keys[i] = append(p.keys[i], t.column(i, k))
		}
		var err error
		if p.byKey[i], err = d.getter(i, t.selectFrom(i)+" WHERE "+strings.Join(where, " AND ")); err != nil {
			return p, err
		}
	}
	return p, nil
}

// column returns the index of a column among the columns of a state.
func (t *Table) column(i int, name string) int {
	for n, c := range t.Columns[i] {
		if SameName(c, name) {
			return n
		}
	}
	return -1
}

func (p *pairing) close() {
	for _, g := range p.byKey {
		if g != nil && g.st != nil {
			g.st.Close()
		}
	}
}

// key returns the primary key of a row, nil if a part of it is NULL.
func (p *pairing) key(i int, r *record) (key []any) {
	for _, n := range p.keys[i] {
		if r.values[n] == nil {
			return nil
		}
		key = append(key, r.values[n])
	}
	return key
}

// sameKey reports whether rows of the two states have the same key.
func (p *pairing) sameKey(a, b *record) bool {
	for n := range p.keys[earlier] {
		if !equal(a.values[p.keys[earlier][n]], b.values[p.keys[later][n]]) {
			return false
		}
	}
	return true
}

// find searches state i for a row of the other state.
func (p *pairing) find(i int, r *record) (*record, error) {
	key := p.key(1-i, r)
	if key == nil {
		return nil, nil
	}
	other, err := p.byKey[i].get(key...)
	if err != nil || other == nil {
		return nil, err
	}
	a, b := r, other
	if i == earlier {
		a, b = b, a
	}
	if !p.sameKey(a, b) { // a collation treats them as equal
		return nil, nil
	}
	return other, nil
}

// rows reports what happened to the rows with one rowid in the two states. Either row may
// be nil.
func (p *pairing) rows(a, b *record) error {
	if a == nil && b == nil {
		return nil
	}
	if a != nil && b != nil && p.sameKey(a, b) { // always true without a key
		return p.compare(a, b)
	}
	if a != nil {
		if err := p.gone(a); err != nil {
			return err
		}
	}
	if b == nil {
		return nil
	}
	if p.byKey[earlier] != nil {
		if old, err := p.find(earlier, b); old != nil || err != nil {
			return err // reported with its old rowid
		}
	}
	return p.fn(inserted(b))
}

// gone reports a row of the earlier state whose rowid the later state lacks, or has for
// another row.
func (p *pairing) gone(a *record) error {
	if p.byKey[later] != nil {
		now, err := p.find(later, a)
		if err != nil {
			return err
		}
		if now != nil {
			return p.compare(a, now)
		}
	}
	return p.fn(deleted(a))
}

// compare reports a row that both states have, if it differs.
func (p *pairing) compare(a, b *record) error {
	for _, c := range p.table.common {
		if !equal(a.values[c[earlier]], b.values[c[later]]) {
			return p.fn(Change{Op: Changed, Old: a.values, New: b.values, OldRowid: a.rowid, NewRowid: b.rowid})
		}
	}
	return nil
}

// A KeyField is one part of a row's identity.
type KeyField struct {
	Name  string
	Value any
	Rowid bool // the field is a rowid that is not a column
}

// RowKey returns the identity of a row: its primary key or, without one or with a NULL in
// it, its rowid.
func (t *Table) RowKey(c Change) (key []KeyField) {
	i, values, rowid := later, c.New, c.NewRowid
	if c.Op == Deleted {
		i, values, rowid = earlier, c.Old, c.OldRowid
	}
	for _, k := range t.Key {
		v := values[t.column(i, k)]
		if v == nil {
			key = nil
			break
		}
		key = append(key, KeyField{Name: k, Value: v})
	}
	if key == nil {
		key = []KeyField{{t.Rowid, rowid, true}}
	}
	return key
}

// A Field is a column that differs.
type Field struct {
	Name     string
	Old, New any
}

// Fields returns the columns of a changed row that differ.
func (t *Table) Fields(c Change) (fields []Field) {
	for _, p := range t.common {
		if old, now := c.Old[p[earlier]], c.New[p[later]]; !equal(old, now) {
			fields = append(fields, Field{t.Columns[later][p[later]], old, now})
		}
	}
	return fields
}
