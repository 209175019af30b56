package diff_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
	"github.com/walvfs/walvfs/vfs/reader/diff"
)

func testHistory(t *testing.T) *history {
	h := newHistory(t, dbtest.NewReplica(t), dbtest.MemoryDir(t))
	t.Cleanup(h.close)
	return h
}

// A row whose tail alone was overwritten in place is found: with the pointer map if the
// database has one, and otherwise by reading the tables, which is noted. The order in
// which the tail was written does not matter.
func TestTails(t *testing.T) {
	scattered := []string{ // its pages are between pages of other rows
		"INSERT INTO t SELECT value, zeroblob(6000) FROM generate_series(101, 400)",
		"DELETE FROM t WHERE id > 100 AND id % 2", "INSERT INTO t VALUES (33, zeroblob(300000))"}
	inOrder := []string{"INSERT INTO t VALUES (33, zeroblob(300000))"}
	for _, c := range []struct {
		vacuum int
		insert []string
	}{{0, inOrder}, {0, scattered}, {1, inOrder}, {1, scattered}} {
		h := testHistory(t)
		h.exec(fmt.Sprintf("PRAGMA auto_vacuum=%d", c.vacuum), "CREATE TABLE t (id INTEGER PRIMARY KEY, v)", "INSERT INTO t SELECT value, zeroblob(20000) FROM generate_series(1, 32)")
		h.exec(c.insert...)
		from := h.commit()
		h.writeBytes("t", "v", 33, 250_000, "x")
		to := h.commit()
		got := h.compare(from, to, nil)
		if len(got.rows["t"]) != 1 || !strings.HasPrefix(got.rows["t"][0], "update int64:33|") {
			t.Errorf("%v: %d rows", c, len(got.rows["t"]))
		}
		said := slices.ContainsFunc(got.notes, func(s string) bool { return strings.Contains(s, "changed in place") })
		if said != (c.vacuum == 0) {
			t.Errorf("%v: notes %q", c, got.notes)
		}
	}
}

// If the files do not show the changes, tables are read as a whole, with the same result.
func TestWhole(t *testing.T) {
	setUp := []string{"PRAGMA page_size=512", "CREATE TABLE t (id INTEGER PRIMARY KEY, v)", "CREATE TABLE w (k TEXT PRIMARY KEY, v) WITHOUT ROWID",
		"INSERT INTO t SELECT value, hex(randomblob(40)) FROM generate_series(1, 500)", "INSERT INTO w SELECT id, v FROM t"}
	change := []string{"UPDATE t SET v = 'x' WHERE id = 7", "DELETE FROM w WHERE k = '8'", "INSERT INTO w VALUES ('new', 1)"}
	for _, c := range []struct {
		name  string
		then  []string
		note  string
		whole bool // only a snapshot has the second state
	}{
		{"page size", []string{"PRAGMA page_size=1024", "VACUUM"}, "the page size changed", true},
		{"snapshots", nil, "no files but whole databases", true},
		{"no rowid", nil, "table w: it has no rowid", false},
	} {
		h := testHistory(t)
		from := h.commit(setUp...)
		h.exec(append(change, c.then...)...)
		to := h.state()
		if c.whole {
			h.put(format.LevelSnapshot, 1, to)
		} else {
			h.put(format.LevelRaw, to, to)
		}
		got := h.compare(from, to, nil)
		if len(got.rows["t"]) != 1 || len(got.rows["w"]) != 2 {
			t.Errorf("%s: %v", c.name, got.rows)
		}
		if len(got.notes) != 1 || !strings.Contains(got.notes[0], c.note) {
			t.Errorf("%s: notes %q", c.name, got.notes)
		}
	}
}

// Other files replace a file between the two states that is damaged, or is removed while
// it is read. Without other files, the tables are read as a whole.
func TestLostFiles(t *testing.T) {
	for _, c := range []struct {
		name      string
		compacted bool
		lose      func(h *history)
	}{
		{"damaged", true, func(h *history) { h.damage(format.LevelRaw, 3, 3) }},
		{"damaged alone", false, func(h *history) { h.damage(format.LevelRaw, 3, 3) }},
		{"removed while it is read", true, func(h *history) {
			h.store.SetBefore(func(_ context.Context, op, key string) error {
				if op == "open" && key == h.store.Layout().Key(format.LevelRaw, 3, 3) {
					return storage.ErrNotExist
				}
				return nil
			})
		}},
	} {
		h := testHistory(t)
		from := h.commit("CREATE TABLE t (id INTEGER PRIMARY KEY, v)", "INSERT INTO t SELECT value, randomblob(100) FROM generate_series(1, 500)")
		h.commit("UPDATE t SET v = 1 WHERE id = 100")
		h.commit("UPDATE t SET v = 2 WHERE id = 200")
		to := h.commit("UPDATE t SET v = 3 WHERE id = 300")
		h.put(format.LevelSnapshot, 1, to)
		if c.compacted {
			h.put(1, 2, to)
		}
		c.lose(h)
		got := h.compare(from, to, nil)
		if len(got.rows["t"]) != 3 || (len(got.notes) == 0) != c.compacted {
			t.Errorf("%s: %d rows, notes %q", c.name, len(got.rows["t"]), got.notes)
		}
	}
}

// An unchanged table WITHOUT ROWID is not read.
func TestUntouched(t *testing.T) {
	h := testHistory(t)
	from := h.commit("CREATE TABLE t (id INTEGER PRIMARY KEY, v)", "CREATE INDEX i ON t (v)", "CREATE TABLE w (k PRIMARY KEY, v) WITHOUT ROWID",
		"INSERT INTO t SELECT value, value FROM generate_series(1, 5000)", "INSERT INTO w SELECT id, v FROM t")
	to := h.commit("UPDATE t SET v = -v WHERE id = 7")
	if got := h.compare(from, to, nil); len(got.rows) != 1 || len(got.rows["t"]) != 1 || len(got.notes) > 0 {
		t.Errorf("%v, notes %q", got.rows, got.notes)
	}
}

// A tail overwritten in a table WITHOUT ROWID is found: the table is read as a whole.
func TestTailsWithoutRowid(t *testing.T) {
	for _, vacuum := range []int{0, 1} {
		h := testHistory(t)
		from := h.commit(
			fmt.Sprintf("PRAGMA auto_vacuum=%d", vacuum),
			"CREATE TABLE w (k INTEGER PRIMARY KEY, v) WITHOUT ROWID", "CREATE TABLE t (v)", "INSERT INTO t VALUES (zeroblob(9000))",
			"INSERT INTO w SELECT value, zeroblob(20000) FROM generate_series(1, 50)")
		to := h.commit("UPDATE w SET v = CAST(zeroblob(19999) || 'x' AS BLOB) WHERE k = 33")
		got := h.compare(from, to, nil)
		if rows := got.rows["w"]; len(rows) != 1 || !strings.HasPrefix(rows[0], "update int64:33|") || len(got.rows) > 1 {
			t.Errorf("auto_vacuum=%d: %d rows, and in %d tables", vacuum, len(rows), len(got.rows))
		}
	}
}

// A table whose kind or key changed is compared by what identifies its rows in both
// states.
func TestChangedKinds(t *testing.T) {
	h := testHistory(t)
	from := h.commit(
		"CREATE TABLE loses (k TEXT PRIMARY KEY, v)", "INSERT INTO loses VALUES ('a', 1), ('b', 2), (NULL, 3)",
		"CREATE TABLE other (k TEXT PRIMARY KEY, v)", "INSERT INTO other VALUES ('a', 1)",
		"CREATE TABLE sorted (k TEXT PRIMARY KEY, v) WITHOUT ROWID", "INSERT INTO sorted VALUES ('a', 1), ('B', 2), ('c', 3)")
	to := h.commit(
		"DROP TABLE loses", "CREATE TABLE loses (k TEXT PRIMARY KEY, v) WITHOUT ROWID", "INSERT INTO loses VALUES ('b', 20), ('c', 4)",
		"DROP TABLE other", "CREATE TABLE other (k TEXT, v PRIMARY KEY) WITHOUT ROWID", "INSERT INTO other VALUES ('a', 1)",
		"DROP TABLE sorted", "CREATE TABLE sorted (k TEXT COLLATE NOCASE PRIMARY KEY, v) WITHOUT ROWID", "INSERT INTO sorted VALUES ('a', 1), ('B', 20), ('d', 4)")
	got := h.compare(from, to, nil)
	for table, want := range map[string][]string{
		"loses":  {"delete string:a|int64:1 -", "delete <nil>:<nil>|int64:3 -", "insert - string:c|int64:4", "update string:b|int64:2 string:b|int64:20"},
		"other":  {"delete string:a|int64:1 -", "insert - string:a|int64:1"},
		"sorted": {"delete string:c|int64:3 -", "insert - string:d|int64:4", "update string:B|int64:2 string:B|int64:20"},
	} {
		rows := got.rows[table]
		slices.Sort(rows)
		slices.Sort(want)
		if !slices.Equal(rows, want) {
			t.Errorf("%s: %q, want %q", table, rows, want)
		}
	}
}

// The rowid identifies rows with a NULL in their key.
func TestNullKeys(t *testing.T) {
	h := testHistory(t)
	from := h.commit("CREATE TABLE t (k TEXT PRIMARY KEY, v)", "INSERT INTO t VALUES (NULL, 1), (NULL, 2), (NULL, 3), ('a', 4)")
	to := h.commit("UPDATE t SET v = 20 WHERE v = 2", "DELETE FROM t WHERE v = 3", "INSERT INTO t VALUES (NULL, 5)")
	got := h.compare(from, to, nil)
	if want := []string{"update <nil>:<nil>|int64:2 <nil>:<nil>|int64:20", "update <nil>:<nil>|int64:3 <nil>:<nil>|int64:5"}; !slices.Equal(got.rows["t"], want) &&
		!slices.Equal(got.rows["t"], []string{want[0], "delete <nil>:<nil>|int64:3 -", "insert - <nil>:<nil>|int64:5"}) {
		t.Errorf("%q", got.rows["t"])
	}
	conn := h.undone(t, from, to)
	if got := dbtest.Query(t, conn, "SELECT group_concat(v) FROM (SELECT v FROM t ORDER BY v)"); got != "1,2,3,4" {
		t.Errorf("undone: %s", got)
	}
}

// Columns added at the end do not change the rows, unless a default changes.
func TestAddedColumns(t *testing.T) {
	h := testHistory(t)
	h.commit("CREATE TABLE t (a)", "INSERT INTO t SELECT value FROM generate_series(1, 500)")
	from := h.commit("ALTER TABLE t ADD COLUMN c DEFAULT 5")
	to := h.commit("ALTER TABLE t DROP COLUMN c", "ALTER TABLE t ADD COLUMN c DEFAULT 7")
	if got := h.compare(from, to, nil); len(got.rows["t"]) != 500 {
		t.Errorf("another default: %d rows", len(got.rows["t"]))
	}
	last := h.commit("ALTER TABLE t ADD COLUMN d", "UPDATE t SET d = 1, a = -a WHERE a = 9")
	got := h.compare(to, last, nil)
	if rows := got.rows["t"]; len(rows) != 1 || rows[0] != "update int64:9|int64:7 int64:-9|int64:7|int64:1" || len(got.notes) > 0 {
		t.Errorf("another column: %q, notes %q", rows, got.notes)
	}
}

// SQLite distinguishes names that differ in the case of letters beyond ASCII, and equates
// other names. A table with a differently spelled name is the same table, and columns may
// have all names of the rowid but one.
func TestNames(t *testing.T) {
	h := testHistory(t)
	from := h.commit("CREATE TABLE É (a, É, é)", "CREATE TABLE é (rowid, oid)", "CREATE TABLE x (a)", "INSERT INTO É VALUES (1, 2, 3)", "INSERT INTO é VALUES (4, 5)", "INSERT INTO x VALUES (6)")
	to := h.commit("UPDATE É SET é = 30", "UPDATE é SET oid = 50", "ALTER TABLE x RENAME TO y", "ALTER TABLE y RENAME TO X", "UPDATE x SET A = 60")
	got := h.compare(from, to, nil)
	for table, want := range map[string]string{"É": "update int64:1|int64:2|int64:3 int64:1|int64:2|int64:30", "é": "update int64:4|int64:5 int64:4|int64:50", "X": "update int64:6 int64:60"} {
		if rows := got.rows[table]; len(rows) != 1 || rows[0] != want {
			t.Errorf("%s: %q, want %q", table, rows, want)
		}
	}
	conn := h.undone(t, from, to)
	if got := dbtest.Query(t, conn, "SELECT É.é || é.oid || x.a FROM É, é, x"); got != "356" {
		t.Errorf("undone: %s", got)
	}
}

// The end of a context ends the comparison, with the context's cause.
func TestInterrupted(t *testing.T) {
	h := testHistory(t)
	from := h.commit("CREATE TABLE t (a)", "INSERT INTO t SELECT value FROM generate_series(1, 50000)")
	to := h.commit("VACUUM", "DELETE FROM t WHERE a % 2")
	a, b := h.moment(from), h.moment(to)
	defer a.Close()
	defer b.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	d, err := diff.New(ctx, a, b, diff.Options{})
	if err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	n := 0
	err = d.Rows(ctx, d.Tables[0], func(diff.Change) error {
		n++
		cancel(stop)
		return nil
	})
	if !errors.Is(err, stop) || n > 10_000 {
		t.Errorf("%d rows, %v", n, err)
	}
}
