package vfs

import (
	"path/filepath"
	"testing"

	"github.com/ncruces/go-sqlite3"
)

// isOff accepts the values that SQLite accepts for synchronous=off.
func TestIsOff(t *testing.T) {
	conn, err := sqlite3.Open("file:" + filepath.Join(t.TempDir(), "a.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, value := range []string{"off", "OFF", "no", "false", "on", "yes", "true", "normal", "full", "extra",
		"0", "1", "2", "3", "6", "7", "8", "9", "15", "16", "255", "256", "00", "nonsense"} {
		if err := conn.Exec("PRAGMA synchronous = full; PRAGMA synchronous = " + value); err != nil {
			t.Fatal(value, err)
		}
		stmt, _, err := conn.Prepare("PRAGMA synchronous")
		if err != nil {
			t.Fatal(err)
		}
		stmt.Step()
		if off := stmt.ColumnInt(0) == 0; isOff(value) != off {
			t.Errorf("synchronous=%s: off is %v, and SQLite says %v", value, isOff(value), off)
		}
		stmt.Close()
	}
}
