package tests

import (
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// program creates a module that uses walvfs from this checkout. It returns the lines of
// the module's go.sum after "go mod tidy".
func program(t *testing.T, requirements string, imports ...string) (sums []string) {
	t.Helper()
	checkout, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	mod := fmt.Sprintf("module example.com/app\n\ngo 1.26.0\n\nrequire github.com/walvfs/walvfs v0.0.0\n\nreplace github.com/walvfs/walvfs => %q\n%s", checkout, requirements)
	code := "package main\n\nimport (\n\t_ \"" + strings.Join(imports, "\"\n\t_ \"") + "\"\n)\n\nfunc main() {}\n"
	for name, text := range map[string]string{"go.mod": mod, "main.go": code} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := osexec.CommandContext(t.Context(), "go", "mod", "tidy")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go mod tidy: %v\n%s", err, out)
	}
	return slices.Collect(strings.Lines(string(readFile(t, filepath.Join(dir, "go.sum")))))
}

// onFiles are the imports of a program whose replicas are directories.
var onFiles = []string{
	"github.com/ncruces/go-sqlite3/driver",
	"github.com/walvfs/walvfs/shipper/storage/file",
	"github.com/walvfs/walvfs/vfs",
}

// A program that uses file:// depends on few modules, and on no cloud SDK: only on the
// modules that its imported packages and their tests need.
func TestModulesOfFiles(t *testing.T) {
	sums := program(t, "", onFiles...)
	if len(sums) > 40 { // a program with only go-sqlite3 has 10
		t.Errorf("%d lines in go.sum:\n%s", len(sums), strings.Join(sums, ""))
	}
	for _, line := range sums {
		for _, sdk := range []string{"cloud.google.com", "google.golang.org", "envoy", "opentelemetry", "aws", "smithy", "gorm"} {
			if strings.Contains(line, sdk) {
				t.Errorf("go.sum has %s", line)
			}
		}
	}
}

// Other dependencies may hold a program to an old gRPC. The old module has packages that
// are in other modules today, some of which the SDK for Google's storage needs: one
// package in two modules is an error.
func TestModulesBesideOldGRPC(t *testing.T) {
	const old = "require google.golang.org/grpc v1.40.0\n\nreplace google.golang.org/grpc => google.golang.org/grpc v1.40.0\n"
	sums := program(t, old, append(onFiles, "google.golang.org/grpc")...)
	if !slices.ContainsFunc(sums, func(line string) bool { return strings.HasPrefix(line, "google.golang.org/grpc v1.40.0 ") }) {
		t.Error("the program has another gRPC")
	}
}
