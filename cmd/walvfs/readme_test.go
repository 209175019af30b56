package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// TestReadme runs the command lines of README.md unchanged, except for the URL and the
// times, on a replica that lost users at one moment.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	replica := "file://" + filepath.ToSlash(dir) + "/replica"
	before, after := loseUsers(t, filepath.Join(dir, "lost.db"), replica)
	replace := strings.NewReplacer("s3://bucket/app", replica,
		"10 minutes ago", before, "2026-11-24 12:00", before, "2026-11-24 12:03", after, "2026-11-24 12:05", after)

	const users = `'SELECT group_concat(id || name) FROM (SELECT * FROM users ORDER BY id)'`
	follows := map[string]string{ // files and output of a line
		"walvfs restore -o":            "ask app.db " + users + " '1x,9since then'",
		"walvfs points":                "stdout ' 3 .*every upload$'",
		"walvfs query --timestamp '10": "stdout '^3$'",
		"walvfs query --timestamp '20": "stdout '^1$'",
		"walvfs diff --from":           "stdout '^~ id = 1'\nstdout '^- id = 2, name = ''b''$'\nstdout '^users: 0 inserted, 1 changed, 2 deleted$'",
		"sqlite3 -bail":                "ask app.db " + users + " '1a,2b,3c,9since then'",
		"walvfs restore --rewind":      "ask app.db " + users + " '1a,2b,3c'",
		"walvfs verify":                "stdout 'ok'",
		"walvfs drill":                 "stdout 'ok'",
	}
	var script strings.Builder
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(readme), -1) {
		for line := range strings.Lines(block[1]) {
			if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "go ") {
				continue // other tests run the demonstration
			}
			command, file, saved := strings.Cut(line, " > ")
			script.WriteString(replace.Replace(shellLine(command)) + "\n")
			if saved {
				script.WriteString("cp stdout " + file + "\n")
			}
			for begin, check := range follows {
				if strings.HasPrefix(line, begin) {
					script.WriteString(check + "\n")
					delete(follows, begin)
				}
			}
		}
	}
	for begin := range follows {
		t.Errorf("README.md has no line that begins with %s", begin)
	}
	scripts := t.TempDir()
	if err := os.WriteFile(filepath.Join(scripts, "readme.txt"), []byte(script.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	runSQLScripts(t, scripts)
}

// shellLine turns a line for a shell into a line of a script.
func shellLine(line string) string {
	if rest, ok := strings.CutPrefix(line, "sqlite3 -bail "); ok {
		return "apply " + strings.Replace(rest, " < ", " ", 1)
	}
	return "exec " + line
}

// loseUsers makes a replica of three states, the second of which has lost users. It
// returns moments of the first and of the second state.
func loseUsers(t *testing.T, path, replica string) (before, after string) {
	t.Helper()
	var moments []string
	for _, statements := range []string{
		"PRAGMA journal_mode=wal; CREATE TABLE users (id INTEGER PRIMARY KEY, name); INSERT INTO users VALUES (1, 'a'), (2, 'b'), (3, 'c')",
		"BEGIN; DELETE FROM users WHERE id > 1; UPDATE users SET name = 'x'; COMMIT",
		"INSERT INTO users VALUES (9, 'since then')",
	} {
		db, err := sqlite3.Open(fileURI(path))
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Exec(statements); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if out, status := runCommand("push", "-q", path, replica); status != statusOK {
			t.Fatalf("push: status %d, %s", status, out)
		}
		moments = append(moments, time.Now().UTC().Format("2006-01-02 15:04:05.000"))
	}
	return moments[0], moments[1]
}
