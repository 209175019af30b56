package diff_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"
	"pgregory.net/rapid"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
	"github.com/walvfs/walvfs/vfs/reader/diff"
)

// undo returns the statements that undo the difference of some tables.
func (h *history) undo(from, to format.TXID, tables ...string) (sql string, err error) {
	h.compare(from, to, func(d *diff.Diff) {
		some := slices.DeleteFunc(slices.Clone(d.Tables), func(t *diff.Table) bool { return len(tables) > 0 && !slices.Contains(tables, t.Name) })
		var b strings.Builder
		_, err = d.Undo(context.Background(), &b, some)
		sql = b.String()
	})
	return sql, err
}

// undone returns the database of a state after its difference to an older one was undone.
func (h *history) undone(t *testing.T, from, to format.TXID) *sqlite3.Conn {
	t.Helper()
	sql, err := h.undo(from, to)
	if err != nil {
		t.Fatal(err)
	}
	conn := h.restored(to, dbtest.MemoryDir(t))
	t.Cleanup(func() { conn.Close() })
	dbtest.Exec(t, conn, sql)
	return conn
}

// runAll runs statements one after another, even after a statement fails, as the shell
// does without -bail.
func runAll(t *testing.T, conn *sqlite3.Conn, sql string) (errs []error) {
	t.Helper()
	for sql != "" {
		stmt, tail, err := conn.Prepare(sql)
		if err != nil {
			t.Fatalf("%s: %v", cut(sql), err)
		}
		if stmt != nil {
			if err := stmt.Exec(); err != nil {
				errs = append(errs, err)
			}
			stmt.Close()
		}
		sql = tail
	}
	return errs
}

// Triggers would add to the changes of the statements. If they fire, nothing changes,
// even if the statements continue after an error.
func TestUndoWithTriggers(t *testing.T) {
	h := testHistory(t)
	from := h.commit(
		"CREATE TABLE t (id INTEGER PRIMARY KEY, v)", "CREATE TABLE audit (what)",
		"CREATE TRIGGER d AFTER DELETE ON t BEGIN INSERT INTO audit VALUES ('deleted'); END",
		"CREATE TRIGGER i AFTER INSERT ON t BEGIN INSERT INTO audit VALUES ('inserted'); END",
		"CREATE TRIGGER u AFTER UPDATE ON t BEGIN INSERT INTO audit VALUES ('updated'); END",
		"INSERT INTO t VALUES (1, 'a'), (2, 'b')")
	to := h.commit("DELETE FROM t WHERE id = 1", "UPDATE t SET v = 'c' WHERE id = 2", "INSERT INTO t VALUES (3, 'd')")
	sql, err := h.undo(from, to, "t")
	if err != nil {
		t.Fatal(err)
	}
	conn := h.restored(to, dbtest.MemoryDir(t))
	defer conn.Close()
	const state = "SELECT (SELECT group_concat(id || v) FROM t) || ' ' || (SELECT count(*) FROM audit)"
	errs := runAll(t, conn, sql)
	if got := dbtest.Query(t, conn, state); got != "2c,3d 5" {
		t.Errorf("with triggers: %s", got)
	}
	if len(errs) == 0 || !strings.Contains(errs[0].Error(), "triggers fire") {
		t.Errorf("with triggers: %v", errs)
	}
	if _, err := conn.Config(sqlite3.DBCONFIG_ENABLE_TRIGGER, false); err != nil {
		t.Fatal(err)
	}
	if errs := runAll(t, conn, sql); len(errs) > 0 {
		t.Errorf("without triggers: %v", errs)
	}
	if got := dbtest.Query(t, conn, state); got != "1a,2b 5" {
		t.Errorf("without triggers: %s", got)
	}
}

// A cascade that existed before deletes no row.
func TestUndoWithForeignKeys(t *testing.T) {
	h := testHistory(t)
	from := h.commit(
		"CREATE TABLE parent (name TEXT UNIQUE, id INTEGER PRIMARY KEY)",
		"CREATE TABLE child (id INTEGER PRIMARY KEY, parent REFERENCES parent(id) ON DELETE CASCADE)",
		"INSERT INTO parent VALUES ('a', 1), ('b', 2)", "INSERT INTO child VALUES (10, 1), (20, 2)")
	to := h.commit("UPDATE parent SET name = 'c' WHERE id = 1") // unique, so the row is deleted and inserted
	sql, err := h.undo(from, to)
	if err != nil {
		t.Fatal(err)
	}
	conn := h.restored(to, dbtest.MemoryDir(t))
	defer conn.Close()
	dbtest.Exec(t, conn, "PRAGMA foreign_keys=ON", sql)
	if got := dbtest.Query(t, conn, "SELECT (SELECT group_concat(name) FROM parent) || (SELECT count(*) FROM child)"); got != "a,b2" {
		t.Errorf("got %s", got)
	}
}

// Undo restores a dropped table with its indexes and triggers, drops a new table, and
// refuses a table whose columns differ.
func TestUndoOfTables(t *testing.T) {
	h := testHistory(t)
	from := h.commit(
		`CREATE TABLE "the ""table" (id INTEGER PRIMARY KEY, v, g AS (v + 1))`,
		`CREATE INDEX i ON "the ""table" (v)`,
		`CREATE TRIGGER r AFTER INSERT ON "the ""table" BEGIN INSERT INTO kept VALUES (new.id); END`,
		"CREATE TABLE kept (x)", "CREATE TABLE altered (a, b)",
		`INSERT INTO "the ""table" VALUES (1, 10), (2, 20)`)
	to := h.commit(`DROP TABLE "the ""table"`, "CREATE TABLE created AS SELECT 1 AS x", "ALTER TABLE altered DROP COLUMN b")
	if _, err := h.undo(from, to); err == nil || !strings.Contains(err.Error(), "table altered: its columns are others") {
		t.Errorf("an altered table: %v", err)
	}
	sql, err := h.undo(from, to, `the "table`, "created", "kept")
	if err != nil {
		t.Fatal(err)
	}
	conn := h.restored(to, dbtest.MemoryDir(t))
	defer conn.Close()
	dbtest.Exec(t, conn, sql)
	for query, want := range map[string]string{
		`SELECT group_concat(id || v || g) FROM "the ""table"`:                          "11011,22021",
		"SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema ORDER BY name)": `altered,i,kept,r,the "table`,
		"SELECT count(*) FROM kept":                                                     "2",
	} {
		if got := dbtest.Query(t, conn, query); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}

// Values that are unique by an expression or under a condition return to their old rows,
// although other rows have them now.
func TestUndoOfUniqueValues(t *testing.T) {
	for _, index := range []string{"t (lower(v))", "t (v) WHERE kept", "t (g)", "t (v)"} {
		h := testHistory(t)
		from := h.commit("CREATE TABLE t (id INTEGER PRIMARY KEY, v, kept, g AS (lower(v)))", "CREATE UNIQUE INDEX u ON "+index,
			"INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 1), (3, 'c', 0)")
		to := h.commit("UPDATE t SET v = 'x' WHERE id = 1", "UPDATE t SET v = 'a' WHERE id = 2", "UPDATE t SET v = 'b' WHERE id = 1", "UPDATE t SET kept = 1 WHERE id = 3")
		conn := h.undone(t, from, to)
		if got := dbtest.Query(t, conn, "SELECT group_concat(id || v || kept) FROM (SELECT * FROM t ORDER BY id)"); got != "1a1,2b1,3c0" {
			t.Errorf("%s: undone: %s", index, got)
		}
	}
}

// The same holds for values that are unique under a changed condition.
func TestUndoOfConditions(t *testing.T) {
	h := testHistory(t)
	from := h.commit("CREATE TABLE t (id INTEGER PRIMARY KEY, v, kept)", "CREATE UNIQUE INDEX u ON t (v) WHERE kept", "INSERT INTO t VALUES (1, 'a', 1), (2, 'a', 0)")
	to := h.commit("UPDATE t SET kept = 0 WHERE id = 1", "UPDATE t SET kept = 1 WHERE id = 2")
	conn := h.undone(t, from, to)
	if got := dbtest.Query(t, conn, "SELECT group_concat(id || kept) FROM (SELECT * FROM t ORDER BY id)"); got != "11,20" {
		t.Errorf("undone: %s", got)
	}
}

// Undo handles a large difference, whose inserts wait in a file until after the deletes.
func TestLargeUndo(t *testing.T) {
	h := testHistory(t)
	from := h.commit("CREATE TABLE t (id INTEGER PRIMARY KEY, u UNIQUE, v)", "INSERT INTO t SELECT value, value, hex(randomblob(200)) FROM generate_series(1, 6000)")
	to := h.commit("DELETE FROM t WHERE id > 3000", "UPDATE t SET u = -u", "UPDATE t SET u = 3001 + u")
	sql, err := h.undo(from, to)
	if err != nil {
		t.Fatal(err)
	}
	dir := dbtest.MemoryDir(t)
	conn, want := h.restored(to, dir), h.restored(from, dir)
	defer conn.Close()
	defer want.Close()
	dbtest.Exec(t, conn, sql)
	const all = "SELECT group_concat(id || '|' || u || '|' || v) FROM (SELECT * FROM t ORDER BY id)"
	if dbtest.Query(t, conn, all) != dbtest.Query(t, want, all) {
		t.Error("the tables differ")
	}
}

// A value written as SQL reads as the same value.
func TestLiteral(t *testing.T) {
	conn := dbtest.Open(t, ":memory:")
	rapid.Check(t, func(rt *rapid.T) {
		v := rapid.OneOf(
			rapid.Just[any](nil),
			rapid.Map(rapid.Int64(), func(v int64) any { return v }),
			rapid.Map(rapid.Float64().Filter(func(v float64) bool { return v != 0 }), func(v float64) any { return v }),
			rapid.Map(rapid.String(), func(v string) any { return v }),
			rapid.Map(rapid.SliceOf(rapid.Byte()), func(v []byte) any { return string(v) }),
			rapid.Map(rapid.SliceOf(rapid.Byte()), func(v []byte) any { return v }),
		).Draw(rt, "value")
		st, _, err := conn.Prepare("SELECT " + diff.Literal(v))
		if err != nil {
			rt.Fatal(err)
		}
		defer st.Close()
		st.Step()
		var got any
		switch st.ColumnType(0) {
		case sqlite3.INTEGER:
			got = st.ColumnInt64(0)
		case sqlite3.FLOAT:
			got = st.ColumnFloat(0)
		case sqlite3.TEXT:
			got = st.ColumnText(0)
		case sqlite3.BLOB:
			got = st.ColumnBlob(0, []byte{})
		}
		if show([]any{got}) != show([]any{v}) {
			rt.Fatalf("%s is %#v, want %#v", diff.Literal(v), got, v)
		}
	})
}
