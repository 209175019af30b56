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
	used   map[string]bool // parameters that a statement had
	out    rowWriter
	n      int // statements so far
}

// A rowWriter prints results, one after another. Values are only valid until it returns.
type rowWriter interface {
	begin(columns []string) error
	row(values []sqlValue) error
	end() error
}

// run runs the statements of a text. If it is the last one, parameters that no statement
// has are an error, before the last statement runs.
func (q *querier) run(text string, last bool) (err error) {
	for text = trimSQL(text); text != ""; {
		stmt, tail, err := q.conn.Prepare(text)
		tail = trimSQL(tail)
		if err != nil || stmt != nil {
			q.n++
		}
		if err == nil && stmt != nil {
			err = q.runOne(stmt, last && tail == "")
			err = errors.Join(err, stmt.Close())
		}
		if err != nil {
			return q.fail(strings.TrimSuffix(text, tail), err)
		}
		text = tail
	}
	if last { // a comment was behind the last statement
		return q.unused()
	}
	return nil
}

// trimSQL removes space, and the semicolons of empty statements. A comment behind the
// last statement is left, and is one without a result.
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

// print writes the header with the first row, so that a statement that fails prints
// nothing.
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

// bind gives each parameter its value. SQLite would take one without a value for NULL.
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

// realDigits is how many digits of a number SQLite prints for certain.
const realDigits = 15

// bindValue binds a number if the text is one as SQLite prints it: then it is equal to
// that text in a column of text, too.
func bindValue(stmt *sqlite3.Stmt, i int, text string) error {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && strconv.FormatInt(n, 10) == text {
		return stmt.BindInt64(i, n)
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil && len(text) <= realDigits && strings.Contains(text, ".") && formatReal(f) == text {
		return stmt.BindFloat(i, f)
	}
	return stmt.BindText(i, text)
}

// unused reports parameters that no statement has had.
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

// fail names the statement.
func (q *querier) fail(sql string, err error) error {
	shown := []rune(strings.Join(strings.Fields(sql), " "))
	if len(shown) > mostShown {
		shown = append(shown[:mostShown-1], '…')
	}
	err = fmt.Errorf("statement %d: %s: %w", q.n, string(shown), err)
	if errors.Is(err, sqlite3.READONLY) {
		err = &hintedError{err, "a replica is read-only: restore it to change the copy"}
	}
	return err
}
