package main

import (
	"context"
	"strings"

	"github.com/ncruces/go-sqlite3"
)

// checked is the result of SQLite's check of a database.
type checked struct {
	wrong     []string // damage
	unchecked []string // checks that need a part of the application
}

// integrityCheck makes SQLite check a database. If the check needs a collation, a
// function, a module or a tokenizer of the application, integrityCheck checks each table
// alone, and lists the tables that could not be checked.
//
// https://sqlite.org/pragma.html#pragma_integrity_check
func integrityCheck(ctx context.Context, path string) (c checked, err error) {
	c.wrong, c.unchecked = []string{}, []string{}
	db, err := sqlite3.OpenContext(ctx, fileURI(path)+"?immutable=1")
	if err != nil {
		return c, err
	}
	defer db.Close()
	db.SetInterrupt(ctx)
	tables, longest, err := tablesOf(db)
	if err != nil {
		// A database that cannot be opened is damaged: walvfs has not failed.
		c.wrong = append(c.wrong, "integrity_check: "+err.Error())
		return c, ctx.Err()
	}
	// An error in an expression of the schema has a position in that expression's
	// statement, but go-sqlite3 looks for the position in the text of this statement.
	pad := strings.Repeat(" ", longest)
	for _, table := range tables {
		// SQLite skips a virtual table of an unknown module.
		if err := opens(db, table, pad); isApplications(err) && strings.Contains(err.Error(), "no such module: ") {
			c.add("table "+table+": ", nil, err)
		}
	}
	rows, err := checkRows(db, "PRAGMA integrity_check"+pad)
	if !isApplications(err) {
		c.add("", rows, err)
		return c, ctx.Err()
	}
	for _, table := range tables {
		rows, err := checkRows(db, "PRAGMA integrity_check("+sqlite3.QuoteIdentifier(table)+")"+pad)
		c.add("table "+table+": ", rows, err)
	}
	c.unchecked = append(c.unchecked, "that no page is lost or used twice, which takes all tables at once")
	return c, ctx.Err()
}

// tablesOf returns the names of all tables, and the length of the schema's longest
// statement.
func tablesOf(db *sqlite3.Conn) (tables []string, longest int, err error) {
	stmt, _, err := db.Prepare(`SELECT type, name, coalesce(length(CAST(sql AS BLOB)), 0) FROM sqlite_schema`)
	if err != nil {
		return nil, 0, err
	}
	defer stmt.Close()
	tables = []string{"sqlite_schema"}
	for stmt.Step() {
		if stmt.ColumnText(0) == "table" {
			tables = append(tables, stmt.ColumnText(1))
		}
		longest = max(longest, stmt.ColumnInt(2))
	}
	return tables, longest, stmt.Err()
}

// opens returns an error if a query cannot name a table.
func opens(db *sqlite3.Conn, table, pad string) error {
	stmt, _, err := db.Prepare("SELECT 1 FROM " + sqlite3.QuoteIdentifier(table) + pad)
	if err == nil {
		err = stmt.Close()
	}
	return err
}

func checkRows(db *sqlite3.Conn, sql string) (rows []string, err error) {
	stmt, _, err := db.Prepare(sql)
	if err != nil {
		return nil, err
	}
	defer stmt.Close()
	for stmt.Step() {
		if s := stmt.ColumnText(0); s != "ok" {
			rows = append(rows, s)
		}
	}
	return rows, stmt.Err()
}

// add sorts the results of a check.
func (c *checked) add(what string, rows []string, err error) {
	for _, row := range rows {
		if needsApplication(row) {
			c.unchecked = append(c.unchecked, what+row)
		} else {
			c.wrong = append(c.wrong, "integrity_check: "+row)
		}
	}
	switch {
	case err == nil:
	case isApplications(err):
		c.unchecked = append(c.unchecked, what+strings.TrimPrefix(err.Error(), "sqlite3: SQL logic error: "))
	default:
		c.wrong = append(c.wrong, "integrity_check: "+what+err.Error())
	}
}

func isApplications(err error) bool { return err != nil && needsApplication(err.Error()) }

// needsApplication reports whether a message names something that this SQLite does not
// know, but that the application may register.
func needsApplication(message string) bool {
	for _, what := range []string{"no such collation sequence: ", "no such function: ", "unknown function: ", "no such module: ", "no such tokenizer: ", "unknown tokenizer: "} {
		if strings.Contains(message, what) {
			return true
		}
	}
	return false
}
