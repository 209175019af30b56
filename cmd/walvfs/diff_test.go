package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"
	"pgregory.net/rapid"

	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs"
)

// An independent decoder of JSON reads a printed value back as the same value.
func TestDiffJSON(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		value := rapid.OneOf(rapid.Custom(drawValue), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) any { return string(b) })).Draw(rt, "value")
		b, err := json.Marshal(jsonRow{[]string{"a \"name"}, []any{value}})
		if err != nil {
			rt.Fatal(err)
		}
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.UseNumber()
		var row map[string]any
		if err := dec.Decode(&row); err != nil {
			rt.Fatalf("%s: %v", b, err)
		}
		decoded := func(key string) string {
			object, _ := row["a \"name"].(map[string]any)
			text, _ := object[key].(string)
			b, err := base64.StdEncoding.DecodeString(text)
			if object[key] == nil || err != nil {
				rt.Fatalf("%s: %v", b, err)
			}
			return string(b)
		}
		ok := false
		switch v := value.(type) {
		case nil:
			got, there := row["a \"name"]
			ok = there && got == nil
		case int64:
			ok = row["a \"name"] == json.Number(strconv.FormatInt(v, 10))
		case float64:
			n, _ := row["a \"name"].(json.Number)
			f, err := strconv.ParseFloat(n.String(), 64)
			ok = f == v && (err == nil || math.IsInf(v, 0)) && strings.ContainsAny(n.String(), ".e")
		case string:
			ok = row["a \"name"] == v
			if strings.ToValidUTF8(v, "") != v {
				ok = decoded("text_base64") == v
			}
		case []byte:
			ok = decoded("base64") == string(v)
		}
		if !ok {
			rt.Fatalf("%#v is %s", value, b)
		}
	})
}

// A long value is shown from shortly before the difference on, and no value controls the
// terminal.
func TestShortValue(t *testing.T) {
	long := strings.Repeat("é", 3000)
	for _, c := range []struct {
		value any
		at    int
		want  string
	}{
		{nil, 0, "NULL"},
		{int64(math.MinInt64), 0, "-9223372036854775808"},
		{5.0, 0, "5.0"},
		{"it's\n\x1b[2J\u009b", 0, `'it''s\n\x1b[2J\u009b'`},
		{[]byte{0, 255}, 0, "X'00ff'"},
		{long, 0, "'" + strings.Repeat("é", 50) + "'… (3000 characters)"},
		{long[:2000] + "x" + long, 2000, "'" + strings.Repeat("é", 10) + "x" + strings.Repeat("é", 39) + "'… (4001 characters)"},
		{append(make([]byte, 500), 7), 500, "X'" + strings.Repeat("00", 49) + "07'… (501 bytes)"},
	} {
		if got := shortValue(c.value, c.at); got != c.want {
			t.Errorf("%s\nwant %s", got, c.want)
		}
	}
}

// The command finds the changes of an application in its replica, and its statements undo
// them in the database.
func TestDiffOfApplication(t *testing.T) {
	r := storagetest.File(t)
	path := filepath.Join(t.TempDir(), "app.db")
	uri := "file:" + filepath.ToSlash(path) + "?vfs=replicated&interval=0s&replica=" + url.QueryEscape(r.URL)
	commit := func(conn *sqlite3.Conn, sql string) string {
		t.Helper()
		if err := conn.Exec(sql); err != nil {
			t.Fatal(err)
		}
		if err := flush(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		db, err := vfs.Lookup(path)
		if err != nil {
			t.Fatal(err)
		}
		st := db.Status()
		return st.Tip.TXID.String()
	}
	db, err := sqlite3.Open(uri)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	from := commit(db, "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, n); INSERT INTO users VALUES (1, 'ann', 9223372036854775807), (2, 'bob', NULL), (3, 'eve', x'00ff')")
	to := commit(db, "DELETE FROM users WHERE id = 3; UPDATE users SET name = 'bobby' WHERE id = 2; INSERT INTO users VALUES (4, 'dan', 0.5)")
	out, status := runCommand("diff", "-q", "--from-txid", from, r.URL)
	const want = "\n\ntable users\n~ id = 2: name 'bob' -> 'bobby'\n- id = 3, name = 'eve', n = X'00ff'\n+ id = 4, name = 'dan', n = 0.5\nusers: 1 inserted, 1 changed, 1 deleted\n"
	if status != statusOK || !strings.HasSuffix(out, want) {
		t.Errorf("status %d: %s", status, out)
	}
	sql, status := runCommand("diff", "-q", "--sql", "--from-txid", from, "--to-txid", to, r.URL)
	if status != statusOK {
		t.Fatalf("status %d: %s", status, sql)
	}
	undone := commit(db, sql)
	out, status = runCommand("diff", "-q", "--from-txid", from, "--to-txid", undone, r.URL)
	if status != statusOK || strings.Contains(out, "users") {
		t.Errorf("status %d: after undoing it: %s", status, out)
	}
}
