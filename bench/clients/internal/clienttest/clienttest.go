// Package clienttest runs the programs of this module as a user does, each in a process of
// its own, and restores what they wrote.
package clienttest

import (
	"bytes"
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	_ "github.com/ncruces/go-sqlite3/driver"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
	_ "github.com/walvfs/walvfs/shipper/storage/file"
)

// envMain has a test binary be the program that it tests. So a program is built with its
// test, and a test runs again when anything that the program is made of has changed.
const envMain = "CLIENTTEST_MAIN"

// Main is for TestMain.
func Main(m *testing.M, main func()) {
	if os.Getenv(envMain) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A Program is the program of the test's package, with a machine of its own: a directory
// that it runs in. Its replica is somewhere else.
type Program struct {
	t *testing.T

	Dir     string // where it runs
	Replica string // the URL of its replica
}

// New returns the program, on a new machine and with no replica yet.
func New(t *testing.T) *Program {
	return &Program{t: t, Dir: t.TempDir(), Replica: "file://" + t.TempDir() + "/replica"}
}

// Command returns the program, ready to be started.
func (p *Program) Command(args ...string) *exec.Cmd {
	p.t.Helper()
	path, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.CommandContext(p.t.Context(), path, args...)
	cmd.Dir = p.Dir
	cmd.Env = append(os.Environ(), envMain+"=1", "REPLICA="+p.Replica)
	cmd.Stderr = p.t.Output()
	// A program that runs when its test ends prints where it was.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGQUIT) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// Run runs the program to its end, which must be a success, and returns what it printed.
func (p *Program) Run(args ...string) string {
	p.t.Helper()
	out, err := p.Command(args...).Output()
	if err != nil {
		p.t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return string(bytes.TrimSpace(out))
}

// LoseMachine gives the program an empty directory: only the replica is left.
func (p *Program) LoseMachine() { p.Dir = p.t.TempDir() }

// Restore restores the replica and returns the one value that a query gives there.
func (p *Program) Restore(query string) string {
	p.t.Helper()
	return p.RestoreTXID(0, query)
}

// RestoreTXID is Restore for an older state. A TXID of 0 stands for the newest one.
func (p *Program) RestoreTXID(txid format.TXID, query string) string {
	p.t.Helper()
	store, err := storage.Open(p.t.Context(), p.Replica, storage.Options{})
	if err != nil {
		p.t.Fatal(err)
	}
	defer store.Close()
	path := filepath.Join(p.t.TempDir(), "restored.db")
	if _, err := restore.Restore(p.t.Context(), store, path, restore.Options{TXID: txid}); err != nil {
		p.t.Fatal(err)
	}
	db, err := sql.Open("sqlite3", "file:"+path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer db.Close()
	var check, value string
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&check); err != nil || check != "ok" {
		p.t.Fatalf("integrity_check of the restored database: %s, %v", check, err)
	}
	if err := db.QueryRow(query).Scan(&value); err != nil {
		p.t.Fatalf("%s: %v", query, err)
	}
	return value
}
