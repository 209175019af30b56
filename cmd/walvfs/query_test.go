package main

import (
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"
	"github.com/rivo/uniseg"
	"pgregory.net/rapid"
)

// drawValue returns any value except texts that are not UTF-8 or have a NUL: SQLite's own
// functions do not agree where such texts end.
func drawValue(rt *rapid.T) any {
	return rapid.OneOf(
		rapid.Just[any](nil),
		rapid.Map(rapid.Int64(), func(n int64) any { return n }),
		rapid.Map(rapid.Float64(), func(f float64) any { return f }),
		rapid.Map(rapid.StringOf(rapid.RuneFrom([]rune("a\\\",\t\n' é日\x1b"))), func(s string) any { return s }),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) any { return b }),
	).Draw(rt, "value")
}

// rowsOf prints the result of a statement for some bound values, twice.
func rowsOf(t interface{ Fatal(...any) }, out rowWriter, values []any) {
	conn, err := sqlite3.Open("file::memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	marks := strings.TrimSuffix(strings.Repeat("?,", len(values)), ",")
	stmt, _, err := conn.Prepare("VALUES (" + marks + "), (" + marks + ")")
	if err != nil {
		t.Fatal(err)
	}
	defer stmt.Close()
	for i, v := range append(values, values...) {
		switch v := v.(type) {
		case nil:
			err = stmt.BindNull(i + 1)
		case int64:
			err = stmt.BindInt64(i+1, v)
		case float64:
			err = stmt.BindFloat(i+1, v)
		case string:
			err = stmt.BindText(i+1, v)
		case []byte:
			err = stmt.BindBlob(i+1, v)
			if v == nil {
				err = stmt.BindZeroBlob(i+1, 0)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	names := make([]string, len(values))
	for i := range names {
		names[i] = fmt.Sprint("c", i)
	}
	if err := (&querier{conn: conn, out: out}).print(stmt, names); err != nil {
		t.Fatal(err)
	}
}

// Independent readers read the output back, value for value.
func TestQueryValues(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		values := rapid.SliceOfN(rapid.Custom(drawValue), 1, 5).Draw(rt, "row")

		var out bytes.Buffer
		rowsOf(rt, newJSONRows(&out), values)
		var rows []map[string]any
		dec := json.NewDecoder(&out)
		dec.UseNumber()
		if err := dec.Decode(&rows); err != nil || len(rows) != 2 {
			rt.Fatalf("JSON of %d rows: %v", len(rows), err)
		}

		out.Reset()
		rowsOf(rt, newLineRows(&out, csvValue, ",", true), append(values, int64(1))) // so no line is empty
		lines, err := csv.NewReader(strings.NewReader(out.String())).ReadAll()
		if err != nil || len(lines) != 3 {
			rt.Fatalf("CSV of %d rows: %v", len(lines), err)
		}

		out.Reset()
		rowsOf(rt, newLineRows(&out, tabValue, "\t", false), values)
		tabs := strings.Split(strings.Split(out.String(), "\n")[0], "\t")
		if len(tabs) != len(values) || strings.Count(out.String(), "\n") != 2 {
			rt.Fatalf("%d values in %q", len(values), out.String())
		}
		for i, v := range values {
			got := rows[1]["c"+strconv.Itoa(i)]
			switch v := v.(type) {
			case nil:
				if got != nil || lines[2][i] != "" || tabs[i] != `\N` {
					rt.Errorf("NULL: %v, %q, %q", got, lines[2][i], tabs[i])
				}
			case int64:
				if want := strconv.FormatInt(v, 10); got != json.Number(want) || lines[2][i] != want || tabs[i] != want {
					rt.Errorf("%s: %v, %q, %q", want, got, lines[2][i], tabs[i])
				}
			case float64:
				back, err := strconv.ParseFloat(tabs[i], 64)
				if got != json.Number(tabs[i]) || lines[2][i] != tabs[i] || back != v || err != nil && !math.IsInf(v, 0) {
					rt.Errorf("%v: %v, %q, %q", v, got, lines[2][i], tabs[i])
				}
			case string:
				if got != v || lines[2][i] != v || unescapeTab.Replace(tabs[i]) != v {
					rt.Errorf("%q: %q, %q, %q", v, got, lines[2][i], tabs[i])
				}
			case []byte:
				want := fmt.Sprintf("X'%x'", v)
				object, _ := got.(map[string]any)
				if object["base64"] != base64.StdEncoding.EncodeToString(v) || lines[2][i] != want || tabs[i] != want {
					rt.Errorf("%s: %v, %q, %q", want, got, lines[2][i], tabs[i])
				}
			}
		}
	})
}

var unescapeTab = strings.NewReplacer(`\\`, `\`, `\t`, "\t", `\n`, "\n")

// A table is aligned in the terminal's columns, and does not control the terminal. After
// the first rows, it does not wait.
func TestQueryTable(t *testing.T) {
	var out bytes.Buffer
	w := newTableRows(&out, true)
	if err := w.begin([]string{"id", "name", "z"}); err != nil {
		t.Fatal(err)
	}
	text := func(s string) sqlValue { return sqlValue{kind: sqlite3.TEXT, bytes: []byte(s)} }
	number := func(n int) sqlValue { return sqlValue{kind: sqlite3.INTEGER, text: strconv.Itoa(n)} }
	rows := [][]sqlValue{
		{number(1), text("日本語"), text("x")},
		{number(1000), text("\x1b[31mred\n"), text("x")},
		{number(20), {kind: sqlite3.NULL}, text("x")},
		{number(3), {kind: sqlite3.BLOB, bytes: []byte{0, 255}}, text("x")},
	}
	for i := range tableWindow {
		if out.Len() > 0 {
			t.Fatalf("row %d was written before the widths are known", i)
		}
		if err := w.row(rows[i%len(rows)]); err != nil {
			t.Fatal(err)
		}
	}
	before := out.Len()
	if err := w.row([]sqlValue{number(5), text(strings.Repeat("wide ", 10)), text("x")}); err != nil {
		t.Fatal(err)
	}
	if out.Len() == before || len(w.waiting) > 0 {
		t.Error("a row after the first ones waits")
	}
	if err := w.end(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	want := []string{
		"  id  name           z",
		"----  -------------  -",
		"   1  日本語         x",
		`1000  \x1b[31mred\n  x`,
		"  20  NULL           x",
		"   3  X'00ff'        x",
	}
	for i, line := range want {
		if lines[i] != line {
			t.Errorf("line %d:\n%s\n%s", i, lines[i], line)
		}
		if n := uniseg.StringWidth(lines[i]); n != uniseg.StringWidth(want[0]) {
			t.Errorf("line %d is %d wide", i, n)
		}
	}
	if got := lines[len(lines)-2]; got != "   5  "+strings.Repeat("wide ", 10)+"  x" {
		t.Errorf("a wide row: %q", got)
	}
}

// All statements see one state, while the replica continues.
func TestQuerySeesOneState(t *testing.T) {
	dir := t.TempDir()
	replica := "file://" + filepath.ToSlash(dir) + "/replica"
	live, err := sqlite3.Open(fileURI(filepath.Join(dir, "app.db")) + "?vfs=replicated&durability=sync&replica=" + replica)
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	if err := live.Exec("CREATE TABLE t (x); INSERT INTO t VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	c := &queryCmd{replicaArg: replicaArg{Replica: replica}, Quiet: true}
	conn, err := c.connect(&app{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var out bytes.Buffer
	q := &querier{conn: conn, out: newLineRows(&out, tabValue, "\t", false)}
	for range 3 {
		if err := q.run("SELECT count(*) FROM t", false); err != nil {
			t.Fatal(err)
		}
		if err := live.Exec("INSERT INTO t VALUES (2)"); err != nil {
			t.Fatal(err)
		}
	}
	if got := out.String(); got != "1\n\n1\n\n1\n" {
		t.Errorf("the statements saw %q", got)
	}
}
