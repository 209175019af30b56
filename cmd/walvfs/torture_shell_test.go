package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A shell is SQLite's own command line, with SQLite's C library, that works on a
// machine's database together with the application.
type shell struct {
	cmd  *exec.Cmd
	said bytes.Buffer // its standard error
}

// startShell runs a shell for a while, and kills it if it has not ended by then. It
// returns nil without sqlite3.
func (c *campaign) startShell(t *testing.T, m *machine) *shell {
	t.Helper()
	path, err := exec.LookPath("sqlite3")
	if err != nil {
		return nil
	}
	s := &shell{cmd: exec.CommandContext(t.Context(), path, m.path)}
	s.cmd.Stdin, s.cmd.Stderr = strings.NewReader(shellScript(c.rng)), &s.said
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(c.between(0, 2*time.Second), func() { s.cmd.Process.Kill() })
	return s
}

// finish fails if the shell reported anything except a database that others use.
func (s *shell) finish(t *testing.T) {
	t.Helper()
	s.cmd.Wait() // most are killed
	for line := range strings.Lines(s.said.String()) {
		if !strings.Contains(line, "locked") && !strings.Contains(line, "no transaction is active") {
			t.Errorf("the shell says: %s", line)
		}
	}
}

// shellScript is an administrator's session: it reads the database, writes to it, and
// checkpoints.
func shellScript(rng *rand.Rand) string {
	script := &strings.Builder{}
	script.WriteString(".timeout 30000\n.output /dev/null\n")
	for range 5 + rng.IntN(60) {
		switch n := rng.IntN(100); {
		case n < 35:
			script.WriteString("SELECT count(*), sum(balance) FROM account; SELECT max(n) FROM journal;\n")
		case n < 60:
			from, to, sum := 1+rng.IntN(tortureAccounts), 1+rng.IntN(tortureAccounts), rng.IntN(100)
			fmt.Fprintf(script, "BEGIN IMMEDIATE; UPDATE account SET balance = balance - %d WHERE id = %d; UPDATE account SET balance = balance + %[1]d WHERE id = %[3]d; %[4]s\n",
				sum, from, to, shellEnd(rng))
		case n < 75:
			fmt.Fprintf(script, "BEGIN IMMEDIATE; INSERT INTO pad(data) SELECT randomblob(400) FROM generate_series(1, %d); %s\n", 1+rng.IntN(60), shellEnd(rng))
		case n < 95:
			fmt.Fprintf(script, "PRAGMA wal_checkpoint(%s);\n", []string{"PASSIVE", "FULL", "RESTART", "TRUNCATE"}[rng.IntN(4)])
		default:
			script.WriteString("PRAGMA integrity_check;\n")
		}
	}
	return script.String()
}

// shellEnd ends a transaction.
func shellEnd(rng *rand.Rand) string {
	if rng.IntN(5) == 0 {
		return "ROLLBACK;"
	}
	return "INSERT INTO journal SELECT coalesce(max(n), 0) + 1, random() FROM journal; COMMIT;"
}
