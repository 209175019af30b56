package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"
)

// integrityCheck distinguishes checks that need the application from damage, and still
// checks all other tables.
func TestIntegrityCheck(t *testing.T) {
	const other = `; CREATE TABLE other (x, y); CREATE INDEX by_x ON other (x); INSERT INTO other VALUES (1, 2), (3, 4);`
	for name, test := range map[string]struct {
		sql       string
		unchecked string // in one of the results, "" if everything can be checked
	}{
		"plain":               {`CREATE TABLE t (a UNIQUE); INSERT INTO t VALUES ('x')`, ""},
		"collation":           {`CREATE TABLE t (a TEXT COLLATE german); CREATE INDEX i ON t (a); INSERT INTO t VALUES ('x'), ('y')`, "table t: no such collation sequence: german"},
		"collation of index":  {`CREATE TABLE t (a); CREATE INDEX i ON t (a COLLATE german); INSERT INTO t VALUES ('x'), ('y')`, "table t: no such collation sequence: german"},
		"function of index":   {`CREATE TABLE t (a); CREATE INDEX i ON t (norm(a)); INSERT INTO t VALUES ('x'), ('y')`, "table t: unknown function: norm()"},
		"extension":           {`CREATE TABLE t (a); PRAGMA writable_schema = on; INSERT INTO sqlite_schema VALUES ('table', 'v', 'v', 0, 'CREATE VIRTUAL TABLE v USING vec0(e float[3])'); PRAGMA writable_schema = off`, "table v: no such module: vec0"},
		"a table's odd name":  {`CREATE TABLE "t'"";" (a TEXT COLLATE german UNIQUE)`, `table t'";: no such collation sequence: german`},
		"function, long text": {`CREATE TABLE t (a); CREATE INDEX i ON t (a || '` + strings.Repeat("x", 5000) + `' || norm(a))`, "table t: unknown function: norm()"},
	} {
		for _, damaged := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "app.db")
				c, err := sqlite3.Open(fileURI(path))
				if err != nil {
					t.Fatal(err)
				}
				c.CreateCollation("german", func(a, b []byte) int { return strings.Compare(string(a), string(b)) })
				c.CreateFunction("norm", 1, sqlite3.DETERMINISTIC|sqlite3.INNOCUOUS, func(ctx sqlite3.Context, a ...sqlite3.Value) { ctx.ResultText(strings.ToLower(a[0].Text())) })
				if err := c.Exec(test.sql + other); err != nil {
					t.Fatal(err)
				}
				if damaged { // an index of another table
					if err := c.Exec(`PRAGMA writable_schema = on; UPDATE sqlite_schema SET sql = 'CREATE INDEX by_x ON other (y)' WHERE name = 'by_x'`); err != nil {
						t.Fatal(err)
					}
				}
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
				got, err := integrityCheck(t.Context(), path)
				if err != nil {
					t.Fatal(err)
				}
				if damaged != (len(got.wrong) > 0) {
					t.Errorf("damaged %t: %q", damaged, got.wrong)
				}
				if (len(got.unchecked) > 0) != (test.unchecked != "") || test.unchecked != "" && !slices.Contains(got.unchecked, test.unchecked) {
					t.Errorf("not checkable: %q, want %q", got.unchecked, test.unchecked)
				}
			})
		}
	}
}
