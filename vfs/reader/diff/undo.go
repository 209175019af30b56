package diff

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// An undoError is the reason why Undo cannot undo the changes of a table.
type undoError struct{ table, why string }

func (e *undoError) Error() string {
	return fmt.Sprintf("undo the changes of table %s: %s", e.table, e.why)
}

// Undo writes the statements that turn the later state of tables back into the earlier
// state, as one transaction. It returns how many rows they change.
//
// The statements create dropped tables again, with their indexes and triggers, and drop
// created tables. Other changes of the schema stay. Undo fails before it writes anything
// if the columns of a table differ.
//
// The statements delete surplus rows before they change and insert other rows, so that no
// unique constraint fails in between. A row keeps its rowid, unless it has a primary key
// that is not its rowid.
//
// # Foreign keys and triggers
//
// Neither actions of foreign keys nor triggers may add to the changes of the statements.
// Foreign keys are turned off before the transaction. No SQL turns triggers off: the
// connection must do that, with SQLITE_DBCONFIG_ENABLE_TRIGGER or the shell's ".dbconfig
// enable_trigger off". If one of the tables has a trigger, the transaction ends by
// testing whether triggers fire, with its own trigger in an attached database in memory,
// and rolls everything back if they do.
//
// https://sqlite.org/c3ref/c_dbconfig_enable_trigger.html
func (d *Diff) Undo(ctx context.Context, out io.Writer, tables []*Table) (rows int64, err error) {
	for _, t := range tables {
		if t.Altered() {
			return 0, &undoError{t.Name, "its columns are others at the earlier moment (restore that moment beside the database, and copy what is needed)"}
		}
	}
	u := &undo{d: d, w: bufio.NewWriter(out)}
	defer u.later.close()
	if err := u.write(ctx, tables); err != nil {
		return u.rows, cause(ctx, err)
	}
	return u.rows, u.w.Flush()
}

type undo struct {
	d     *Diff
	w     *bufio.Writer
	later spool // statements that follow the deletes of a table
	rows  int64
}

func (u *undo) write(ctx context.Context, tables []*Table) error {
	triggers, err := u.triggers(tables)
	if err != nil {
		return err
	}
	a, b := u.d.sides[earlier].state, u.d.sides[later].state
	fmt.Fprintf(u.w, "-- From TXID %s of %s back to TXID %s of %s.\n", b.TXID(), b.Time().UTC().Format(time.RFC3339Nano), a.TXID(), a.Time().UTC().Format(time.RFC3339Nano))
	u.w.WriteString("-- Apply it to the state of the former: sqlite3 -bail ")
	if triggers {
		u.w.WriteString("-cmd '.dbconfig enable_trigger off' ")
	}
	u.w.WriteString("DATABASE < FILE\nPRAGMA foreign_keys=OFF;\n")
	if triggers {
		u.w.WriteString(`ATTACH ':memory:' AS walvfs_test;
CREATE TABLE walvfs_test.trial (x);
CREATE TRIGGER walvfs_test.fires AFTER INSERT ON trial BEGIN SELECT RAISE(ROLLBACK, 'rolled back: triggers fire and would change more (turn them off: .dbconfig enable_trigger off)'); END;
`)
	}
	u.w.WriteString("BEGIN IMMEDIATE;\n")
	for _, t := range tables {
		if t.Created() {
			fmt.Fprintf(u.w, "DROP TABLE %s;\n", Quote(t.Name))
		}
	}
	for _, t := range tables {
		if t.Created() {
			continue
		}
		if err := u.table(ctx, t); err != nil {
			return err
		}
	}
	if triggers {
		u.w.WriteString("INSERT INTO walvfs_test.trial VALUES (1);\n")
	}
	u.w.WriteString("COMMIT;\n")
	if triggers {
		u.w.WriteString("DETACH walvfs_test;\n")
	}
	return nil
}

// triggers reports whether a table has triggers that would fire.
func (u *undo) triggers(tables []*Table) (found bool, err error) {
	err = query(u.d.sides[later].db, "SELECT tbl_name FROM sqlite_schema WHERE type = 'trigger'", nil, func(st *sqlite3.Stmt) error {
		on := st.ColumnText(0)
		found = found || slices.ContainsFunc(tables, func(t *Table) bool { return !t.Created() && !t.Dropped() && SameName(t.Name, on) })
		return nil
	})
	return found, err
}

// table writes the statements of one table.
func (u *undo) table(ctx context.Context, t *Table) error {
	if t.Dropped() {
		if err := u.create(t, "type = 'table'"); err != nil {
			return err
		}
	}
	unique, err := u.unique(t)
	if err != nil {
		return err
	}
	err = u.d.Rows(ctx, t, func(c Change) error {
		u.rows++
		switch c.Op {
		case Inserted:
			_, err = u.w.WriteString(t.delete(c))
		case Deleted:
			_, err = u.later.WriteString(t.insert(c))
		case Changed:
			set, again := t.set(c, unique)
			if !again {
				_, err = u.later.WriteString(set)
			} else if _, err = u.w.WriteString(t.delete(c)); err == nil {
				_, err = u.later.WriteString(t.insert(c))
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := u.later.empty(u.w); err != nil {
		return err
	}
	if t.Dropped() {
		return u.create(t, "type <> 'table'")
	}
	return nil
}

// create writes the statements that create a table, or its indexes and triggers.
func (u *undo) create(t *Table, which string) error {
	q := "SELECT sql FROM sqlite_schema WHERE sql <> '' AND lower(tbl_name) = lower(?) AND " + which + " ORDER BY rowid"
	return query(u.d.sides[earlier].db, q, []any{t.Name}, func(st *sqlite3.Stmt) error {
		_, err := fmt.Fprintf(u.w, "%s;\n", st.ColumnText(0))
		return err
	})
}

// unique returns the columns in which a value forbids values in other rows: all columns,
// if an index has an expression or a condition.
func (u *undo) unique(t *Table) (columns map[string]bool, err error) {
	columns = map[string]bool{}
	add := func(name string) {
		if t.column(later, name) < 0 { // an expression, the rowid or a generated column
			for _, c := range t.Columns[later] {
				columns[fold(c)] = true
			}
			return
		}
		columns[fold(name)] = true
	}
	err = query(u.d.sides[later].db, "SELECT l.partial, coalesce(i.name, '') FROM pragma_index_list(?, 'main') l, pragma_index_info(l.name, 'main') i WHERE l.\"unique\"", []any{t.Name}, func(st *sqlite3.Stmt) error {
		name := st.ColumnText(1)
		if st.ColumnBool(0) {
			name = ""
		}
		add(name)
		return nil
	})
	return columns, err
}

// where returns the condition that finds a row of the later state.
func (t *Table) where(c Change) string {
	var terms []string
	for _, k := range t.RowKey(c) {
		terms = append(terms, Quote(k.Name)+" = "+Literal(k.Value))
	}
	return strings.Join(terms, " AND ")
}

func (t *Table) delete(c Change) string {
	return fmt.Sprintf("DELETE FROM %s WHERE %s;\n", Quote(t.Name), t.where(c))
}

func (t *Table) insert(c Change) string {
	var names, values []string
	if len(t.Key) == 0 {
		names, values = append(names, t.Rowid), append(values, fmt.Sprint(c.OldRowid))
	}
	for i, name := range t.Columns[earlier] {
		names, values = append(names, Quote(name)), append(values, Literal(c.Old[i]))
	}
	return fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s);\n", Quote(t.Name), strings.Join(names, ", "), strings.Join(values, ", "))
}

// set returns the update of a changed row. If other rows must make room first, it reports
// that the row must be deleted and inserted.
func (t *Table) set(c Change, unique map[string]bool) (update string, again bool) {
	var sets []string
	for _, f := range t.Fields(c) {
		if unique[fold(f.Name)] {
			return "", true
		}
		sets = append(sets, Quote(f.Name)+" = "+Literal(f.Old))
	}
	return fmt.Sprintf("UPDATE %s SET %s WHERE %s;\n", Quote(t.Name), strings.Join(sets, ", "), t.where(c)), false
}
