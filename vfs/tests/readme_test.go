package tests

import (
	"database/sql"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadmePrograms: README.md's programs compile. The complete program runs, with a
// replica in a directory, and restores its database if it is lost.
func TestReadmePrograms(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	whole := 0
	for i, block := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(readme), -1) {
		dir, source := t.TempDir(), block[1]
		program := strings.HasPrefix(source, "package main")
		if !program {
			source = wholeProgram(source)
		}
		replica := "file://" + filepath.ToSlash(dir) + "/replica"
		source = strings.NewReplacer("s3://bucket/app", replica, "shipper/storage/s3", "shipper/storage/file").Replace(source)
		binary := filepath.Join(dir, "program")
		if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := osexec.Command("go", "build", "-o", binary, filepath.Join(dir, "main.go")).CombinedOutput(); err != nil {
			t.Errorf("program %d: %v\n%s", i+1, err, out)
			continue
		}
		if !program {
			continue
		}
		whole++
		for run := range 3 {
			cmd := osexec.Command(binary)
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("run %d: %v\n%s", run+1, err, out)
			}
			if n := visits(t, filepath.Join(dir, "app.db")); n != run+1 {
				t.Errorf("run %d: %d visits", run+1, n)
			}
			if run == 1 { // the machine is lost
				for _, suffix := range []string{"", "-wal", "-shm", "-walvfs"} {
					os.Remove(filepath.Join(dir, "app.db") + suffix)
				}
			}
		}
	}
	if whole == 0 {
		t.Error("README.md has no complete program")
	}
}

// wholeProgram makes a program of statements that may begin with imports.
func wholeProgram(statements string) string {
	imports := ""
	if strings.HasPrefix(statements, "import (") {
		end := strings.Index(statements, "\n)\n") + len("\n)\n")
		imports, statements = statements[:end], statements[end:]
	}
	if !strings.Contains(imports, "database/sql\"") {
		imports = "import \"database/sql\"\n" + imports
	}
	return fmt.Sprintf("package main\n\n%s\nfunc main() {\n%s\n_, _ = db, err\n}\n", imports, statements)
}

func visits(t *testing.T, path string) (n int) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow("SELECT count(*) FROM visits").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
