package compare

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// speedtestSource is the program. SQLite's speedtest1 is compiled into go-sqlite3, and
// only its internal packages can call it: the program is built as a package of a copy.
//
//go:embed speedtest1.go.txt
var speedtestSource []byte

// engine is the module that contains SQLite.
const engine = "github.com/ncruces/go-sqlite3"

// speedtestProgram builds the program, otherwise with the modules of the benchmark.
func speedtestProgram(l *lender) string {
	dir := l.directory("")
	copied, mod, program := filepath.Join(dir, "engine"), filepath.Join(dir, "go.mod"), filepath.Join(dir, "speedtest1")
	original := goCommand(l, "list", "-m", "-f", "{{if .Replace}}{{.Replace.Dir}}{{else}}{{.Dir}}{{end}}", engine)
	ours := filepath.Dir(goCommand(l, "env", "GOMOD"))
	err := errors.Join(
		os.CopyFS(copied, os.DirFS(original)),
		os.Mkdir(filepath.Join(copied, "walvfs"), 0o700),
		os.WriteFile(filepath.Join(copied, "walvfs", "main.go"), speedtestSource, 0o600),
		copyFile(filepath.Join(ours, "go.mod"), mod),
		copyFile(filepath.Join(ours, "go.sum"), filepath.Join(dir, "go.sum")),
	)
	if err != nil {
		l.Fatal(err)
	}
	goCommand(l, "mod", "edit", "-replace", engine+"="+copied, mod)
	goCommand(l, "build", "-modfile", mod, "-o", program, engine+"/walvfs")
	return program
}

// goCommand runs a go command in the benchmark's module.
func goCommand(l *lender, args ...string) string {
	_, here, _, _ := runtime.Caller(0)
	cmd := exec.CommandContext(l.Context(), "go", args...)
	cmd.Dir = filepath.Dir(here)
	out, err := cmd.CombinedOutput()
	if err != nil {
		l.Fatalf("speedtest1: go %s: %v\n%s", args[0], err, out)
	}
	return strings.TrimSpace(string(out))
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

// speedtestArguments returns the arguments of one run.
func (s *session) speedtestArguments() []string {
	uri := s.peer.uri(databasePath(s.dir, 0), s.place.used.URL)
	return []string{"--size", fmt.Sprint(s.workload.SpeedTest), "--journal", "wal", uri}
}
