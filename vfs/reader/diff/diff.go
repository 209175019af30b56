package diff

import (
	"context"
	"fmt"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/vfs/reader"
)

// The two states.
const (
	earlier = iota
	later
)

// A Diff is the difference between two states of a replica.
type Diff struct {
	Schema  []SchemaChange // by name
	Tables  []*Table       // comparable tables, by name
	Virtual []string       // virtual tables: other tables, their shadow tables, hold the content

	sides   [2]*side
	changed *roaring.Bitmap // pages that may differ, nil if unknown
	all     []*Table        // including SQLite's own tables
	note    func(string)
}

// Options configure a comparison.
type Options struct {
	// Tables are the tables whose rows the caller may ask for, nil for all. It saves
	// reading other tables if the changes alone do not show which rows changed.
	Tables []string

	// Note, if not nil, is called for each step that costs more than the changes do.
	Note func(string)
}

// worthwhile is the number of changed pages above which all tables are read as a whole,
// if a quarter of the database changed, too.
const worthwhile = 10_000

// New compares the states that two connections to one replica see. The state of the first
// connection must not be newer. New begins a transaction on both connections, and the
// Diff uses them until they are closed. The end of the context interrupts the
// connections.
func New(ctx context.Context, from, to *sqlite3.Conn, opts Options) (*Diff, error) {
	d := &Diff{sides: [2]*side{{db: from}, {db: to}}, note: opts.Note}
	if d.note == nil {
		d.note = func(string) {}
	}
	changed, err := reader.Changes(ctx, from, to)
	if err != nil {
		return nil, err
	}
	if changed != nil {
		d.changed = roaring.New()
		for pgno := range changed {
			d.changed.Add(pgno)
		}
	}
	for _, s := range d.sides {
		s.db.SetInterrupt(ctx)
		if err := s.open(ctx); err != nil {
			return nil, err
		}
		if err := s.db.Exec("BEGIN"); err != nil { // one for all statements: otherwise each would read page 1
			return nil, cause(ctx, err)
		}
	}
	if err := d.readSchemas(); err != nil {
		return nil, cause(ctx, err)
	}
	for _, t := range d.all {
		t.wanted = opts.Tables == nil || slices.ContainsFunc(opts.Tables, func(name string) bool { return SameName(name, t.Name) })
	}
	a, b := d.sides[earlier].state, d.sides[later].state
	whole := ""
	switch {
	case a.PageSize() != b.PageSize():
		whole = "the page size changed"
	case d.changed == nil:
		whole = fmt.Sprintf("no files but whole databases lead from TXID %s to %s", a.TXID(), b.TXID())
	case d.changed.GetCardinality() > max(worthwhile, uint64(b.Pages())/4):
		whole = fmt.Sprintf("%d of %d pages changed", d.changed.GetCardinality(), b.Pages())
	}
	if whole != "" {
		d.note(whole + "; reading all tables")
		for _, t := range d.all {
			t.paged = false
		}
		return d, nil
	}
	if d.changed.IsEmpty() {
		for _, t := range d.all {
			t.paged = true // without candidates
		}
		return d, nil
	}
	if err := d.analyse(ctx); err != nil {
		return nil, fmt.Errorf("compare TXID %s with %s: %w", a.TXID(), b.TXID(), cause(ctx, err))
	}
	return d, nil
}

// byContent makes Rows read the whole table, and note why.
func (t *Table) byContent(why string) { t.paged, t.why = false, why }
