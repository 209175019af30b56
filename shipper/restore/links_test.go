package restore_test

import (
	"os/exec"
	"strings"
	"testing"
)

// A program that imports restore links no SQLite.
func TestLinksNoSQLite(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "github.com/walvfs/walvfs/shipper/restore").Output()
	if err != nil {
		t.Fatal(err)
	}
	if deps := string(out); strings.Contains(deps, "go-sqlite3") || !strings.Contains(deps, "walvfs/shipper/replica") {
		t.Errorf("it depends on\n%s", deps)
	}
}
