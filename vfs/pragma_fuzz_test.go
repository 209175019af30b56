package vfs_test

import (
	"bytes"
	"log/slog"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/vfs"
)

// FuzzPragma fails if a pragma panics, whatever its name, its value and its schema. The
// names include SQLite's own, because the VFS sees them first.
func FuzzPragma(f *testing.F) {
	values := []string{"", "sync", "async", "wal", "'WAL'", "delete", "exclusive", "off", "0", "-1", "1e9", `a"b`, "it's", "`x`", "(1)", "a;b",
		"\x00", "a\x00b", "\xff\xfe", "ünïcödé \U0001F600", "%s%n%!d", strings.Repeat("x", 1<<16)}
	for i, name := range []string{
		"walvfs_error", "walvfs_status", "walvfs_txid", "walvfs_wait", "walvfs_durability", "walvfs_", "WALVFS_Error", "walvfs_error ", "walvfs_\xff",
		"journal_mode", "locking_mode", "synchronous", "wal_checkpoint", "wal_autocheckpoint", "page_size", "user_version", "busy_timeout",
		"mmap_size", "integrity_check", "table_info", "schema_version", "lock_status", "application_id", "checksum_verification", "none_such", "ö", "",
	} {
		f.Add("", name, "")
		f.Add("main", name, values[i%len(values)])
		f.Add("temp", name, values[(i*7+3)%len(values)])
		f.Add("plain", name, values[(i*5+1)%len(values)])
		f.Add("second", name, values[(i*3+2)%len(values)])
	}
	for _, value := range values {
		f.Add("main", "walvfs_durability", value)
		f.Add("", "journal_mode", value)
		f.Add("main", "synchronous", value)
	}
	f.Fuzz(func(t *testing.T, schema, name, value string) {
		if strings.HasSuffix(strings.ToLower(name), "_heap_limit") {
			t.Skip("SQLite runs out of memory, as it is told to")
		}
		dir := url.PathEscape(t.TempDir()) // a seed's name has a #
		conn := open(t, uri(dir+"/app.db", newReplica(t), "close_timeout=0s", "sync_timeout=1s"))
		exec(t, conn, "CREATE TABLE t (x)", "ATTACH '"+uri(dir+"/second.db", newReplica(t), "close_timeout=0s")+"' AS second",
			"ATTACH 'file:"+dir+"/plain.db' AS plain", "CREATE TABLE second.t (x)", "CREATE TABLE plain.t (x)")
		pragma := "PRAGMA " + quoted(name)
		if schema != "" {
			pragma = "PRAGMA " + quoted(schema) + "." + quoted(name)
		}
		for _, sql := range []string{pragma, pragma + " = '" + strings.ReplaceAll(value, "'", "''") + "'", pragma + "(" + quoted(value) + ")", pragma + " = " + value} {
			readAll(conn, sql)
		}
		vfs.Cause(conn)
	})
}

func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// readAll runs a statement that may fail, and reads its rows with the names of their
// columns.
func readAll(conn *sqlite3.Conn, sql string) (rows []string, err error) {
	stmt, _, err := conn.Prepare(sql)
	if err != nil || stmt == nil {
		return nil, err
	}
	defer stmt.Close()
	for i := range stmt.ColumnCount() {
		stmt.ColumnName(i)
	}
	for range 1000 {
		if !stmt.Step() {
			break
		}
		for i := range stmt.ColumnCount() {
			rows = append(rows, stmt.ColumnText(i))
		}
	}
	return rows, stmt.Err()
}

// Each of this package's pragmas returns an answer, also without anything to report.
func TestPragmasAnswer(t *testing.T) {
	conn := open(t, uri(filepath.Join(t.TempDir(), "app.db"), newReplica(t)))
	for name, want := range map[string]string{
		"walvfs_error": "none", "walvfs_durability": "async", "walvfs_txid": "0000000000000000", "walvfs_wait": "0000000000000000", "walvfs_status": "{",
	} {
		rows, err := readAll(conn, "PRAGMA "+name)
		if err != nil || len(rows) != 1 || !strings.HasPrefix(rows[0], want) {
			t.Errorf("%s: %q, %v, want %s", name, rows, err, want)
		}
	}
	for sql, want := range map[string]string{
		"PRAGMA walvfs_durability = '" + strings.Repeat("x", 1000) + "'": strings.Repeat("x", 60) + "...: expected async or sync",
		"PRAGMA walvfs_durability = 'a\nb'":                              `="a\nb": expected`,
		"PRAGMA walvfs_none":                                             "unknown PRAGMA walvfs_none",
		"PRAGMA walvfs_txid = 7":                                         "PRAGMA walvfs_txid takes no value",
	} {
		if _, err := readAll(conn, sql); err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 400 {
			t.Errorf("%.50s: %v", sql, err)
		}
	}
}

// The VFS warns of synchronous=off once, not for each connection of a pool.
func TestUnsyncedIsLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	vfs.Register("replicated-unsynced", vfs.Options{Logger: slog.New(slog.NewTextHandler(&syncWriter{W: &log}, nil))})
	dsn := strings.Replace(uri(filepath.Join(t.TempDir(), "app.db"), newReplica(t)), "vfs=replicated&", "vfs=replicated-unsynced&", 1)
	var conns []*sqlite3.Conn
	for range 3 {
		conns = append(conns, open(t, dsn))
		exec(t, conns[len(conns)-1], "PRAGMA synchronous=off")
	}
	for _, conn := range conns {
		conn.Close() // the last close waits for the log
	}
	if n := strings.Count(log.String(), "synchronous=off"); n != 1 {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
}
