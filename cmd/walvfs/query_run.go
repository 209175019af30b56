package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/ncruces/go-sqlite3"
)

// A querier runs statements on one connection.
type querier struct {
	conn   *sqlite3.Conn
	params map[string]string
	used   map[string]bool // parameters that a statement has used
	out    rowWriter
	n      int // statements so far
}

// A rowWriter prints results, one after another. Values are only valid until row returns.
type rowWriter interface {
	begin(columns []string) error
	row(values []sqlValue) error
	end() error
}

// run runs the statements of a text. In the last text, parameters that no statement uses
// are an error, reported before the last statement runs.
func (q *querier) run(text string, last bool) (err error) {
	for text = trimSQL(text); text != ""; {
		stmt, tail, err := q.conn.Prepare(text)
		tail = trimSQL(tail)
		if err != nil || stmt != nil {
			q.n++
		}
		if err == nil && stmt != nil {
			err = q.runOne(stmt, last && tail == "")
			stmt.Close() // its error is that of the last step
		}
		if err != nil {
			return q.fail(strings.TrimSuffix(text, tail), err)
		}
		text = tail
	}
	if last { // a comment follows the last statement
		return q.unused()
	}
	return nil
}

// trimSQL removes space, and the semicolons of empty statements. It keeps a comment after
// the last statement, which is a statement without a result.
func trimSQL(text string) string {
	return strings.TrimLeftFunc(text, func(r rune) bool { return unicode.IsSpace(r) || r == ';' })
}

func (q *querier) runOne(stmt *sqlite3.Stmt, last bool) error {
	if err := q.bind(stmt); err != nil {
		return err
	}
	if last {
		if err := q.unused(); err != nil {
			return err
		}
	}
	columns := make([]string, stmt.ColumnCount())
	if len(columns) == 0 {
		return stmt.Exec()
	}
	for i := range columns {
		columns[i] = stmt.ColumnName(i)
	}
	return q.print(stmt, columns)
}

// print writes the header with the first row, so a failing statement prints nothing.
func (q *querier) print(stmt *sqlite3.Stmt, columns []string) error {
	more := stmt.Step()
	if err := stmt.Err(); err != nil {
		return err
	}
	if err := q.out.begin(columns); err != nil {
		return err
	}
	values := make([]sqlValue, len(columns))
	for ; more; more = stmt.Step() {
		for i := range values {
			values[i] = valueOf(stmt, i)
		}
		if err := q.out.row(values); err != nil {
			return err
		}
	}
	if err := stmt.Err(); err != nil {
		return err
	}
	return q.out.end()
}

// bind binds all parameters. SQLite would treat a parameter without a value as NULL.
func (q *querier) bind(stmt *sqlite3.Stmt) error {
	for i := 1; i <= stmt.BindCount(); i++ {
		shown := stmt.BindName(i)
		name := strings.TrimLeft(shown, ":@$?")
		if shown == "" {
			shown, name = "?"+strconv.Itoa(i), strconv.Itoa(i)
		}
		value, ok := q.params[name]
		if !ok {
			return fmt.Errorf("the parameter %s has no value (add --param %s=VALUE)", shown, name)
		}
		if q.used == nil {
			q.used = map[string]bool{}
		}
		q.used[name] = true
		if err := bindValue(stmt, i, value); err != nil {
			return err
		}
	}
	return nil
}

// realDigits is how many digits of a number SQLite prints exactly.
const realDigits = 15

// bindValue binds a number if SQLite would print the number as this text: then the number
// equals the text in a column of text, too.
func bindValue(stmt *sqlite3.Stmt, i int, text string) error {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && strconv.FormatInt(n, 10) == text {
		return stmt.BindInt64(i, n)
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil && len(text) <= realDigits && strings.Contains(text, ".") && formatReal(f) == text {
		return stmt.BindFloat(i, f)
	}
	return stmt.BindText(i, text)
}

// unused reports parameters that no statement has used.
func (q *querier) unused() error {
	for _, name := range slices.Sorted(maps.Keys(q.params)) {
		if !q.used[name] {
			return fmt.Errorf("no statement has the parameter %s (check --param)", name)
		}
	}
	return nil
}

// mostShown is how many characters of a statement an error repeats.
const mostShown = 60

// fail adds the statement to an error.
func (q *querier) fail(sql string, err error) error {
	shown := []rune(strings.Join(strings.Fields(sql), " "))
	if len(shown) > mostShown {
		shown = append(shown[:mostShown-1], '…')
	}
	err = fmt.Errorf("statement %d: %s: %w", q.n, string(shown), err)
	switch {
	case errors.Is(err, sqlite3.READONLY):
		err = &hintedError{err, "a replica is read-only: restore it to change the copy"}
	case errors.Is(err, sqlite3.CORRUPT), errors.Is(err, sqlite3.NOTADB):
		err = &hintedError{err, "walvfs verify reads and checks every file of the replica"}
	}
	return err
}
