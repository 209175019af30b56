package diff

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ncruces/go-sqlite3"
)

type kind int

const (
	noTable kind = iota // the state lacks the table
	rowidTable
	withoutRowid
	virtualTable
)

// A Table is a table of one state or both.
type Table struct {
	Name string // as spelled in the later state

	// Columns are the stored columns, by state: the earlier state first. Generated
	// columns follow from them and are left out. Columns are nil for a state that lacks
	// the table.
	Columns [2][]string

	// Key lists the columns that identify a row: the primary key, if it is the same in
	// both states. If Key is empty, the rowid identifies a row.
	Key []string

	// Rowid is the name of a rowid that is not a column, empty if the table has none.
	Rowid string

	shape      [2]shape
	kind       [2]kind
	roots      [2]uint32
	stored     int    // columns of a row on a leaf of the later state
	common     []pair // of columns that both states have
	paged      bool   // its rows that may differ are candidates
	why        string // why the table is not paged, if the reason is its own
	wanted     bool   // the caller may ask for its rows
	candidates []candidate
}

// A pair is the indexes of one column among the columns of both states.
type pair [2]int

// shape is a table as a schema defines it.
type shape struct {
	sql       string
	columns   []column // stored columns
	generated bool     // the table has generated columns
	key       []string // columns of the primary key
	alias     bool     // the key is an alias of the rowid
	rowid     string   // a name of the rowid that no column has
}

type column struct {
	name, kind, dflt string
}

// Created reports whether only the later state has the table.
func (t *Table) Created() bool { return t.kind[earlier] == noTable }

// Dropped reports whether only the earlier state has the table.
func (t *Table) Dropped() bool { return t.kind[later] == noTable }

// Altered reports whether the columns differ.
func (t *Table) Altered() bool {
	return !t.Created() && !t.Dropped() && (t.kind[0] != t.kind[1] || !slices.Equal(t.shape[0].columns, t.shape[1].columns) || !slices.Equal(t.shape[0].key, t.shape[1].key))
}

func (t *Table) sortCandidates() {
	slices.SortFunc(t.candidates, func(a, b candidate) int { return cmp.Compare(a.key, b.key) })
}

// A SchemaChange is a difference of the schemas.
type SchemaChange struct {
	Kind string // table, index, view or trigger
	Name string
	On   string // the table of an index or a trigger
	Old  string // SQL, empty if the object was created
	New  string // SQL, empty if the object was dropped
}

// An object is a row of sqlite_schema.
type object struct {
	kind, name, on, sql string
	root                uint32
}

const schemaQuery = "SELECT type, name, tbl_name, coalesce(sql, ''), coalesce(rootpage, 0) FROM sqlite_schema"

func (s *side) schema() (map[string]object, error) {
	objects := map[string]object{}
	err := query(s.db, schemaQuery, nil, func(st *sqlite3.Stmt) error {
		o := object{st.ColumnText(0), st.ColumnText(1), st.ColumnText(2), st.ColumnText(3), uint32(st.ColumnInt64(4))}
		objects[fold(o.name)] = o
		return nil
	})
	return objects, err
}

// internal reports whether a table is SQLite's own.
func internal(name string) bool { return strings.HasPrefix(fold(name), "sqlite_") }

// readSchemas finds the tables of both states.
func (d *Diff) readSchemas() error {
	var schemas [2]map[string]object
	for i, s := range d.sides {
		var err error
		if schemas[i], err = s.schema(); err != nil {
			return fmt.Errorf("read the schema of TXID %s: %w", s.state.TXID(), err)
		}
	}
	names := map[string]bool{}
	for _, schema := range schemas {
		for name := range schema {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		old, now := schemas[earlier][name], schemas[later][name]
		if old.kind != now.kind || old.sql != now.sql {
			o := now
			if o.name == "" {
				o = old
			}
			if !internal(o.name) {
				d.Schema = append(d.Schema, SchemaChange{o.kind, o.name, o.on, old.sql, now.sql})
			}
		}
		if old.kind != "table" && now.kind != "table" {
			continue
		}
		t := &Table{}
		for i, o := range [2]object{old, now} {
			if o.kind != "table" {
				continue
			}
			t.Name = o.name
			if err := t.read(i, d.sides[i].db, o); err != nil {
				return fmt.Errorf("read the columns of table %s of TXID %s: %w", o.name, d.sides[i].state.TXID(), err)
			}
		}
		t.match()
		d.all = append(d.all, t)
		switch {
		case internal(t.Name):
		case t.kind[earlier] == virtualTable, t.kind[later] == virtualTable:
			d.Virtual = append(d.Virtual, t.Name)
		default:
			d.Tables = append(d.Tables, t)
		}
	}
	d.all = append(d.all, &Table{Name: "sqlite_schema", roots: [2]uint32{1, 1}, kind: [2]kind{rowidTable, rowidTable}, stored: 5})
	return nil
}

// read reads the definition of a table in one state.
func (t *Table) read(i int, db *sqlite3.Conn, o object) error {
	sh := shape{sql: o.sql}
	t.roots[i] = o.root
	if o.root == 0 {
		t.kind[i] = virtualTable
		t.shape[i] = sh
		return nil
	}
	t.kind[i], t.stored = rowidTable, 0
	keys := map[int]string{}
	var integer bool
	var names []string
	err := query(db, "SELECT name, type, coalesce(dflt_value, ''), pk, hidden FROM pragma_table_xinfo(?, 'main')", []any{o.name}, func(st *sqlite3.Stmt) error {
		const virtualColumn, storedColumn = 2, 3
		c := column{st.ColumnText(0), st.ColumnText(1), st.ColumnText(2)}
		names = append(names, fold(c.name))
		if pk := st.ColumnInt(3); pk > 0 {
			keys[pk] = c.name
			integer = SameName(c.kind, "INTEGER")
		}
		switch st.ColumnInt(4) {
		case virtualColumn:
			sh.generated = true
			return nil
		case storedColumn:
			sh.generated = true
		default:
			sh.columns = append(sh.columns, c)
			t.Columns[i] = append(t.Columns[i], c.name)
		}
		t.stored++
		return nil
	})
	if err != nil {
		return err
	}
	for _, n := range slices.Sorted(maps.Keys(keys)) {
		sh.key = append(sh.key, keys[n])
	}
	err = query(db, "SELECT wr FROM pragma_table_list(?) WHERE schema = 'main'", []any{o.name}, func(st *sqlite3.Stmt) error {
		if st.ColumnBool(0) {
			t.kind[i] = withoutRowid
		}
		return nil
	})
	if err != nil {
		return err
	}
	if t.kind[i] == rowidTable {
		err = sh.nameRowid(db, o.name, names, integer)
	}
	t.shape[i] = sh
	return err
}

// nameRowid finds the name by which statements can read the rowid of a table: the column
// that is an alias of it, or a name that no column has. names are the columns' names, folded;
// integer says that a column of the key has the type INTEGER.
func (sh *shape) nameRowid(db *sqlite3.Conn, table string, names []string, integer bool) error {
	sh.alias = integer && len(sh.key) == 1
	err := query(db, "SELECT 1 FROM pragma_index_list(?, 'main') WHERE origin = 'pk'", []any{table}, func(*sqlite3.Stmt) error {
		sh.alias = false
		return nil
	})
	for _, name := range []string{"rowid", "_rowid_", "oid"} {
		if sh.rowid == "" && !slices.Contains(names, name) {
			sh.rowid = name
		}
	}
	if sh.alias {
		sh.rowid = sh.key[0]
	}
	if sh.rowid == "" && err == nil {
		err = errors.New("its rowid cannot be read, because columns have all of its names")
	}
	return err
}

// match finds the columns and the key that both states have in common.
func (t *Table) match() {
	a, b := t.shape[earlier], t.shape[later]
	switch {
	case t.Created():
		t.Key, t.Rowid = b.key, b.rowid
		return
	case t.Dropped():
		t.Key, t.Rowid = a.key, a.rowid
		return
	}
	for i, c := range a.columns {
		if j := slices.IndexFunc(b.columns, func(d column) bool { return SameName(c.name, d.name) }); j >= 0 {
			t.common = append(t.common, pair{i, j})
		}
	}
	t.Rowid = b.rowid
	if slices.EqualFunc(a.key, b.key, SameName) {
		t.Key = b.key
	}
	if t.kind[earlier] != rowidTable || t.kind[later] != rowidTable {
		return
	}
	t.paged = true
	if a.sql == b.sql {
		return
	}
	// If columns were only added or dropped at the end, a row on a leaf still means the
	// same.
	n := min(len(a.columns), len(b.columns))
	if a.generated || b.generated || a.alias != b.alias || !slices.Equal(a.columns[:n], b.columns[:n]) {
		t.byContent("its columns differ")
	}
}
