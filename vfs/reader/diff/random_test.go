package diff_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"
	"pgregory.net/rapid"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
	"github.com/walvfs/walvfs/vfs/reader/diff"
)

// The difference of any two states of a random history equals the result of comparing all
// rows of the two databases.
func TestRandomHistories(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := randomHistory(t, rt)
		defer h.close()
		files, err := replica.All(t.Context(), h.store)
		if err != nil {
			rt.Fatal(err)
		}
		moments := files.Restorable()
		last := len(moments) - 1
		from := rapid.IntRange(0, last).Draw(rt, "from")
		to := rapid.IntRange(from, last).Draw(rt, "to")
		h.requireDiff(t, moments[from], moments[to])
		h.requireDiff(t, moments[from], moments[last])

		// Without the files between them.
		h.store = dbtest.NewReplica(t)
		h.put(format.LevelSnapshot, 1, moments[from])
		if from != to {
			h.put(format.LevelSnapshot, 1, moments[to])
		}
		h.requireDiff(t, moments[from], moments[to])
	})
}

var tables = map[string]string{
	"alias": "CREATE TABLE alias (id INTEGER PRIMARY KEY, a, b TEXT UNIQUE, c BLOB)",
	"named": "CREATE TABLE named (k TEXT PRIMARY KEY, v, g AS (v || 'x') VIRTUAL, s AS (length(v)) STORED)",
	"plain": "CREATE TABLE plain (x, y)",
	"pair":  "CREATE TABLE pair (p, q, v, PRIMARY KEY (p, q)) WITHOUT ROWID",
	"upper": "CREATE TABLE upper (k TEXT COLLATE NOCASE, n REAL, v, PRIMARY KEY (k, n))",
	"audit": "CREATE TABLE audit (what, row)",
}

// randomHistory makes a history of several states.
func randomHistory(t *testing.T, rt *rapid.T) *history {
	dir, err := os.MkdirTemp(dbtest.MemoryDir(t), "")
	if err != nil {
		rt.Fatal(err)
	}
	h := newHistory(rt, dbtest.NewReplica(t), dir)
	h.exec(
		fmt.Sprintf("PRAGMA page_size=%d", rapid.SampledFrom([]int{512, 512, 1024, 4096}).Draw(rt, "page size")),
		fmt.Sprintf("PRAGMA auto_vacuum=%d", rapid.IntRange(0, 2).Draw(rt, "auto_vacuum")))
	for _, name := range slices.Sorted(mapsKeys(tables)) {
		h.exec(tables[name])
	}
	h.exec("CREATE INDEX plain_x ON plain (x)",
		"CREATE TRIGGER deleted AFTER DELETE ON named BEGIN INSERT INTO audit VALUES ('deleted', old.k); END",
		"CREATE TRIGGER inserted AFTER INSERT ON alias BEGIN INSERT INTO audit VALUES ('inserted', new.id); END",
		"CREATE TRIGGER updated AFTER UPDATE ON plain BEGIN INSERT INTO audit VALUES ('updated', new.rowid); END")
	for range rapid.IntRange(0, 4).Draw(rt, "before") {
		h.change(rt)
	}
	h.commit()
	for range rapid.IntRange(1, 4).Draw(rt, "commits") {
		for range rapid.IntRange(1, 3).Draw(rt, "changes") {
			h.change(rt)
		}
		txid := h.commit()
		if from := txid - format.TXID(rapid.IntRange(0, 3).Draw(rt, "compacted")); from > 1 && from < txid {
			h.put(1, from, txid)
			if rapid.Bool().Draw(rt, "the raw file goes") {
				h.remove(format.LevelRaw, from, from)
			}
		}
		if rapid.IntRange(0, 5).Draw(rt, "snapshot") == 0 {
			h.put(format.LevelSnapshot, 1, txid)
		}
	}
	return h
}

func mapsKeys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// change makes a change that applications or their administrators make.
func (h *history) change(rt *rapid.T) {
	table := rapid.SampledFrom([]string{"alias", "named", "pair", "plain", "upper"}).Draw(rt, "table")
	from := rapid.SampledFrom([]int{1, 1, 1, 2, 40, 150, 300, -20, 1 << 60}).Draw(rt, "from row")
	n := rapid.SampledFrom([]int{1, 3, 40, 300}).Draw(rt, "rows")
	size := rapid.SampledFrom([]int{3, 40, 400, 3000}).Draw(rt, "size")
	if n > 3 {
		size = min(size, 400)
	}
	salt := rapid.IntRange(0, 9).Draw(rt, "salt")
	// A value whose size depends only on its row and the salt.
	value := fmt.Sprintf("substr(replace(hex(zeroblob(%d)), '0', char(65 + (value + %d) %% 26)), 1, %d)", size/2+1, salt, size)
	rows := fmt.Sprintf("generate_series(%d, %d)", from, from+n-1)
	between := fmt.Sprintf("BETWEEN %d AND %d", from, from+n-1)
	var sql string
	switch rapid.IntRange(0, 14).Draw(rt, "change") {
	case 0, 1, 2, 3:
		sql = map[string]string{
			"alias": "INSERT OR IGNORE INTO alias SELECT value, value % 7, 'b' || value, CAST(" + value + " AS BLOB) FROM " + rows,
			"named": "INSERT OR IGNORE INTO named SELECT 'k' || value, " + value + " FROM " + rows,
			"plain": "INSERT INTO plain(x, y) SELECT value % 50, " + value + " FROM " + rows,
			"pair":  "INSERT OR IGNORE INTO pair SELECT value % 5, value, " + value + " FROM " + rows,
			"upper": fmt.Sprintf("INSERT OR IGNORE INTO upper SELECT char(65 + value %% 26 + 32 * (%d %% 2)), value / 2.0, ", salt) + value + " FROM " + rows,
		}[table]
	case 4, 5:
		sql = map[string]string{
			"alias": "UPDATE alias SET a = -a, c = (SELECT CAST(" + value + " AS BLOB) FROM (SELECT id AS value)) WHERE id " + between,
			"named": "UPDATE named SET v = v || 'y' WHERE rowid " + between,
			"plain": "UPDATE plain SET x = NULL WHERE rowid " + between,
			"pair":  "UPDATE pair SET v = v || 'z' WHERE q " + between,
			"upper": "UPDATE upper SET n = n + 1000 WHERE rowid " + between,
		}[table]
	case 6: // in place, only the end of the value
		sql = map[string]string{
			"alias": "UPDATE alias SET c = CAST(substr(c, 1, length(c) - 1) || char(33 + abs(random() % 90)) AS BLOB) WHERE length(c) > 1 AND id " + between,
			"named": "UPDATE named SET v = substr(v, 1, length(v) - 1) || char(33 + abs(random() % 90)) WHERE length(v) > 1 AND rowid " + between,
			"plain": "UPDATE plain SET y = substr(y, 1, length(y) - 1) || char(33 + abs(random() % 90)) WHERE length(y) > 1 AND rowid " + between,
			"pair":  "UPDATE pair SET v = substr(v, 1, length(v) - 1) || char(33 + abs(random() % 90)) WHERE length(v) > 1 AND q " + between,
			"upper": "UPDATE upper SET v = substr(v, 1, length(v) - 1) || char(33 + abs(random() % 90)) WHERE length(v) > 1 AND rowid " + between,
		}[table]
	case 7, 8:
		sql = "DELETE FROM " + table + " WHERE " + map[string]string{"alias": "id", "named": "rowid", "plain": "rowid", "pair": "q", "upper": "rowid"}[table] + " " + between
	case 9:
		sql = "DELETE FROM " + table
	case 10:
		sql = "DROP TABLE " + table + "; " + tables[table]
		if salt%2 == 0 && table == "plain" {
			h.columns++
			sql = fmt.Sprintf("ALTER TABLE plain ADD COLUMN z%d DEFAULT 5", h.columns)
		}
	case 11:
		sql = []string{"VACUUM", "PRAGMA incremental_vacuum", "PRAGMA incremental_vacuum(3)", "REINDEX"}[salt%4]
	case 12:
		h.writeBlob(size)
		return
	case 13: // other rowids, same keys
		sql = map[string]string{
			"alias": fmt.Sprintf("UPDATE alias SET b = 'x' || id WHERE id %s; UPDATE OR IGNORE alias SET b = 'b' || (%d - id) WHERE id %[1]s", between, 2*from+n-1),
			"named": "INSERT OR REPLACE INTO named(k, v) SELECT k, v FROM named WHERE rowid " + between,
			"plain": "INSERT INTO plain(x, y) SELECT x, y FROM plain WHERE rowid " + between,
			"pair":  "REPLACE INTO pair SELECT p, q, v || 'r' FROM pair WHERE q " + between,
			"upper": "REPLACE INTO upper SELECT lower(k), n, v FROM upper WHERE rowid " + between,
		}[table]
	case 14:
		h.insertValues(rt)
		return
	}
	h.exec(sql)
}

// insertValues inserts values of all types that are hard to write as literals.
func (h *history) insertValues(rt *rapid.T) {
	st, _, err := h.conn.Prepare("INSERT INTO plain(x, y) VALUES (?, ?)")
	if err != nil {
		rt.Fatal(err)
	}
	defer st.Close()
	for i := range 2 {
		switch rapid.IntRange(0, 5).Draw(rt, "type") {
		case 0:
			err = st.BindInt64(i+1, rapid.Int64().Draw(rt, "integer"))
		case 1:
			if v := rapid.Float64().Draw(rt, "real"); v != 0 { // SQLite has no negative zero
				err = st.BindFloat(i+1, v)
			}
		case 2:
			err = st.BindText(i+1, rapid.String().Draw(rt, "text"))
		case 3:
			err = st.BindText(i+1, string(rapid.SliceOf(rapid.Byte()).Draw(rt, "bytes as text")))
		case 4:
			err = st.BindBlob(i+1, rapid.SliceOf(rapid.Byte()).Draw(rt, "blob"))
		case 5:
			err = st.BindText(i+1, strings.Repeat("a\x00'\r\n;", rapid.IntRange(0, 700).Draw(rt, "lines")))
		}
		if err != nil {
			rt.Fatal(err)
		}
	}
	st.Step()
	if err := st.Err(); err != nil {
		rt.Fatal(err)
	}
}

// writeBlob changes some bytes of the largest blob in place.
func (h *history) writeBlob(at int) {
	h.t.Helper()
	row := int64(0)
	if st, _, err := h.conn.Prepare("SELECT id FROM alias ORDER BY length(c) DESC"); err != nil {
		h.t.Fatal(err)
	} else {
		if st.Step() {
			row = st.ColumnInt64(0)
		}
		st.Close()
	}
	if row == 0 {
		return
	}
	h.writeBytes("alias", "c", row, int64(at), string(rune('0'+at%10)))
}

// writeBytes writes into a blob in place, or at its end.
func (h *history) writeBytes(table, column string, row, at int64, bytes string) {
	h.t.Helper()
	b, err := h.conn.OpenBlob("main", table, column, row, true)
	if err != nil {
		h.t.Fatal(err)
	}
	defer b.Close()
	if b.Size() < int64(len(bytes)) {
		return
	}
	_, err = b.Seek(min(at, b.Size()-int64(len(bytes))), 0)
	if err == nil {
		_, err = b.Write([]byte(bytes))
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// requireDiff fails unless the replica shows the difference of the two databases.
func (h *history) requireDiff(t *testing.T, from, to format.TXID) {
	h.t.Helper()
	dir, err := os.MkdirTemp(dbtest.MemoryDir(t), "")
	if err != nil {
		h.t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	a, b := h.restored(from, dir), h.restored(to, dir+"/.")
	if from == to {
		b.Close()
		b = a
	}
	defer a.Close()
	defer b.Close()
	got := h.compare(from, to, nil)
	for table := range tables {
		want := naiveDiff(h.t, table, a, b)
		slices.Sort(want)
		have := slices.Clone(got.rows[table])
		slices.Sort(have)
		if !slices.Equal(want, have) {
			h.t.Fatalf("TXID %s to %s, table %s: got %d changes, want %d\n%s", from, to, table, len(have), len(want), firstDifference(have, want))
		}
	}
	if from != to {
		h.requireUndo(from, to, a, b)
	}
}

// requireUndo fails unless the statements that undo a difference turn the later database
// into the earlier one.
func (h *history) requireUndo(from, to format.TXID, a, b *sqlite3.Conn) {
	h.t.Helper()
	var sql strings.Builder
	var undone []string
	h.compare(from, to, func(d *diff.Diff) {
		tables := slices.DeleteFunc(slices.Clone(d.Tables), (*diff.Table).Altered)
		for _, t := range tables {
			undone = append(undone, t.Name)
		}
		if _, err := d.Undo(context.Background(), &sql, tables); err != nil {
			h.t.Fatal(err)
		}
	})
	if _, err := b.Config(sqlite3.DBCONFIG_ENABLE_TRIGGER, false); err != nil {
		h.t.Fatal(err)
	}
	if err := b.Exec(sql.String()); err != nil {
		h.t.Fatalf("%v\n%s", err, cut(sql.String()))
	}
	for _, table := range undone {
		if left := naiveDiff(h.t, table, a, b); len(left) > 0 {
			h.t.Fatalf("TXID %s to %s, table %s: %d changes are left, such as %s", from, to, table, len(left), cut(left[0]))
		}
	}
}

func firstDifference(have, want []string) string {
	for i := range max(len(have), len(want)) {
		switch {
		case i >= len(have):
			return "lacks " + cut(want[i])
		case i >= len(want):
			return "has too much " + cut(have[i])
		case have[i] != want[i]:
			return "got  " + cut(have[i]) + "\nwant " + cut(want[i])
		}
	}
	return ""
}

func cut(s string) string { return s[:min(len(s), 300)] }

// naiveDiff reads all rows of both databases.
func naiveDiff(t fataler, table string, a, b *sqlite3.Conn) (changes []string) {
	key := map[string]string{"alias": "id", "named": "k", "plain": "rowid", "pair": "p || '/' || q", "upper": "k || '/' || n", "audit": "rowid"}[table]
	columns := map[string]string{"alias": "*", "named": "k, v", "plain": "*", "pair": "*", "upper": "*", "audit": "*"}[table]
	read := func(conn *sqlite3.Conn) map[string][]any {
		t.Helper()
		rows := map[string][]any{}
		st, _, err := conn.Prepare("SELECT " + key + ", " + columns + " FROM " + table)
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		for st.Step() {
			values := []any{}
			for i := 1; i < st.ColumnCount(); i++ {
				switch st.ColumnType(i) {
				case sqlite3.NULL:
					values = append(values, nil)
				case sqlite3.INTEGER:
					values = append(values, st.ColumnInt64(i))
				case sqlite3.FLOAT:
					values = append(values, st.ColumnFloat(i))
				case sqlite3.TEXT:
					values = append(values, st.ColumnText(i))
				default:
					values = append(values, st.ColumnBlob(i, []byte{}))
				}
			}
			rows[st.ColumnText(0)] = values
		}
		if err := st.Err(); err != nil {
			t.Fatal(err)
		}
		return rows
	}
	old, now := read(a), read(b)
	for k, v := range old {
		w, ok := now[k]
		n := min(len(v), len(w)) // columns are added at the end
		switch {
		case !ok:
			changes = append(changes, strings.Join([]string{"delete", show(v), "-"}, " "))
		case show(v[:n]) != show(w[:n]):
			changes = append(changes, strings.Join([]string{"update", show(v), show(w)}, " "))
		}
	}
	for k, v := range now {
		if _, ok := old[k]; !ok {
			changes = append(changes, strings.Join([]string{"insert", "-", show(v)}, " "))
		}
	}
	return changes
}
