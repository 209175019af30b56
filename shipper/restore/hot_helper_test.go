package restore

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"
	"github.com/walvfs/walvfs/shipper/restore/internal/disk"
)

// image is what a killed application leaves behind: a database file and its logs, by
// suffix.
type image map[string][]byte

// imageOf reads the files of a database, which may be open.
func imageOf(t *testing.T, path string) image {
	t.Helper()
	i := image{}
	for _, suffix := range []string{"", "-wal", "-journal"} {
		b, err := os.ReadFile(path + suffix)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		i[suffix] = b
	}
	return i
}

// write writes the image as a database with that name.
func (i image) write(t *testing.T, path string) {
	t.Helper()
	for suffix, b := range i {
		writeFiles(t, map[string]string{path + suffix: string(b)})
	}
}

// hot returns the image of a database that is killed after some statements.
func hot(t *testing.T, sql ...string) image {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hot.db")
	conn, err := sqlite3.Open("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, s := range sql {
		if err := conn.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	return imageOf(t, path)
}

// Statements that create a database, and leave it hot.
const (
	fill   = `CREATE TABLE t(a PRIMARY KEY, b); CREATE INDEX i ON t(b); INSERT INTO t SELECT value, hex(randomblob(300)) FROM generate_series(1, 150)`
	inWAL  = `PRAGMA journal_mode=wal; PRAGMA wal_autocheckpoint=0`
	change = `UPDATE t SET b=hex(randomblob(250)) WHERE a%3=0; DELETE FROM t WHERE a%7=0`
	begin  = `PRAGMA cache_size=4; BEGIN; UPDATE t SET b=hex(randomblob(350)); INSERT INTO t SELECT a+1000, b FROM t`
)

func killedInWAL(t *testing.T) image { return hot(t, fill, inWAL, change, begin) }

func killedInJournal(t *testing.T) image {
	i := hot(t, fill, begin)
	if len(i["-journal"]) < 4096 {
		t.Fatal("nothing was spilled")
	}
	return i
}

// digest makes SQLite read a copy of a database, with its logs, checks it, and returns a
// digest of its content, or "" if the database does not exist.
func digest(t *testing.T, path string) string {
	t.Helper()
	if !disk.Exists(path) {
		return ""
	}
	copied := filepath.Join(t.TempDir(), "app.db")
	imageOf(t, path).write(t, copied)
	conn, err := sqlite3.Open("file:" + copied)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := rows(t, conn, "PRAGMA integrity_check"); got != "ok;" {
		t.Errorf("integrity_check: %s", got)
	}
	schema := rows(t, conn, "SELECT sql FROM sqlite_schema ORDER BY name")
	sum := sha256.Sum256([]byte(schema + rows(t, conn, "SELECT a||' '||b FROM t ORDER BY a")))
	return fmt.Sprintf("%x", sum[:6])
}

func rows(t *testing.T, conn *sqlite3.Conn, sql string) string {
	t.Helper()
	stmt, _, err := conn.Prepare(sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	defer stmt.Close()
	var b strings.Builder
	for stmt.Step() {
		b.WriteString(stmt.ColumnText(0) + ";")
	}
	if err := stmt.Err(); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return b.String()
}
