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

// A Diff is the difference of two states of a replica.
type Diff struct {
	Schema  []SchemaChange // by name
	Tables  []*Table       // that can be compared, by name
	Virtual []string       // virtual tables: what they store is in others, their shadow tables

	sides   [2]*side
	changed *roaring.Bitmap // pages that may differ, nil if that is not known
	all     []*Table        // those of SQLite itself, too
	note    func(string)
}

// Options say how to compare.
type Options struct {
	// Tables are those whose rows are going to be asked for, nil if it may be any. It saves
	// reading others where the changes alone do not tell which rows changed.
	Tables []string

	// Note is told what costs more than the changes do, nil if nobody is.
	Note func(string)
}

// worthwhile is the number of changed pages from which on tables are read as a whole, if
// that is half of the database.
const worthwhile = 10_000

// New compares what two connections to one replica see, the first of which is at an older
// state. It begins a transaction on both, and the difference uses them until they are
// closed. If the context ends, what they do ends.
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
		if err := s.db.Exec("BEGIN"); err != nil { // one for all statements: each would read page 1
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
			t.paged = true // and has no candidates
		}
		return d, nil
	}
	if err := d.analyse(ctx); err != nil {
		return nil, fmt.Errorf("compare TXID %s with %s: %w", a.TXID(), b.TXID(), cause(ctx, err))
	}
	return d, nil
}

// byContent has the table be read as a whole, which is said when it is.
func (t *Table) byContent(why string) { t.paged, t.why = false, why }
