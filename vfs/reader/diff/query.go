package diff

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ncruces/go-sqlite3"
)

// query calls fn for each row of a statement.
func query(db *sqlite3.Conn, sql string, args []any, fn func(*sqlite3.Stmt) error) error {
	st, _, err := db.Prepare(sql)
	if err != nil {
		return err
	}
	defer st.Close()
	if err := bind(st, args); err != nil {
		return err
	}
	for st.Step() {
		if err := fn(st); err != nil {
			return err
		}
	}
	return st.Err()
}

func bind(st *sqlite3.Stmt, args []any) (err error) {
	for i, arg := range args {
		switch v := arg.(type) {
		case nil:
			err = st.BindNull(i + 1)
		case int64:
			err = st.BindInt64(i+1, v)
		case float64:
			err = st.BindFloat(i+1, v)
		case string:
			err = st.BindText(i+1, v)
		case []byte:
			if err = st.BindBlob(i+1, v); len(v) == 0 {
				err = st.BindZeroBlob(i+1, 0)
			}
		default:
			err = fmt.Errorf("a value of type %T cannot be bound", v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// A record is a row of one state.
type record struct {
	rowid  int64
	values []any // nil, int64, float64, string and []byte
}

// recordOf reads a row whose first column is its rowid.
func recordOf(st *sqlite3.Stmt) *record {
	r := &record{rowid: st.ColumnInt64(0), values: make([]any, 0, st.ColumnCount()-1)}
	for i := 1; i < st.ColumnCount(); i++ {
		r.values = append(r.values, valueOf(st, i))
	}
	return r
}

func valueOf(st *sqlite3.Stmt, i int) any {
	switch st.ColumnType(i) {
	case sqlite3.INTEGER:
		return st.ColumnInt64(i)
	case sqlite3.FLOAT:
		return st.ColumnFloat(i)
	case sqlite3.TEXT:
		return st.ColumnText(i)
	case sqlite3.BLOB:
		return st.ColumnBlob(i, []byte{})
	}
	return nil
}

func equal(a, b any) bool {
	switch a := a.(type) {
	case []byte:
		b, ok := b.([]byte)
		return ok && slices.Equal(a, b)
	case float64:
		b, ok := b.(float64)
		return ok && math.Float64bits(a) == math.Float64bits(b)
	}
	if _, ok := b.([]byte); ok {
		return false
	}
	return a == b
}

// Quote returns a name as SQL.
func Quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// SameName reports whether SQLite treats two names as equal: it ignores the case of ASCII
// letters only.
func SameName(a, b string) bool { return fold(a) == fold(b) }

func fold(name string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, name)
}

// selectFrom returns the statement that reads the rows of a table, the rowid first.
func (t *Table) selectFrom(i int) string {
	what := []string{"0"}
	if t.kind[i] == rowidTable {
		what[0] = Quote(t.shape[i].rowid)
	}
	for _, c := range t.Columns[i] {
		what = append(what, Quote(c))
	}
	return "SELECT " + strings.Join(what, ", ") + " FROM main." + Quote(t.Name)
}

// A getter reads single rows.
type getter struct{ st *sqlite3.Stmt }

func (d *Diff) getter(i int, sql string) (*getter, error) {
	st, _, err := d.sides[i].db.Prepare(sql)
	return &getter{st}, err
}

// get returns the row, or nil if it does not exist.
func (g *getter) get(args ...any) (r *record, err error) {
	if err = bind(g.st, args); err == nil && g.st.Step() {
		r = recordOf(g.st)
	}
	if err == nil {
		err = g.st.Err()
	}
	if e := g.st.Reset(); err == nil {
		err = e
	}
	return r, err
}

// A cursor reads rows in order.
type cursor struct {
	st  *sqlite3.Stmt
	now *record // nil at the end
}

func (d *Diff) cursor(i int, sql string) (*cursor, error) {
	st, _, err := d.sides[i].db.Prepare(sql)
	if err != nil {
		return nil, err
	}
	c := &cursor{st: st}
	return c, c.next()
}

func (c *cursor) next() error {
	c.now = nil
	if c.st.Step() {
		c.now = recordOf(c.st)
	}
	return c.st.Err()
}

func (c *cursor) close() {
	if c != nil {
		c.st.Close()
	}
}

// cause returns the cause of an ended context instead of the error of a statement.
func cause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
