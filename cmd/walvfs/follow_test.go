package main

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/restore/follow"
)

// TestFollowScript runs the command lines of testdata/follow, which may use the commands
// of testdata/push.
func TestFollowScript(t *testing.T) { runSQLScripts(t, "testdata/follow") }

// On a terminal, follow overwrites a single line, and an error does not run into it.
func TestFollowOnTerminal(t *testing.T) {
	var out bytes.Buffer
	w := &followWriter{app: &app{stdout: &out, stderr: &out}, cmd: &restoreCmd{Output: "copy.db"}, tty: true, columns: 80}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	w.report(follow.Status{TXID: 1, Tip: 1, Time: at, Resumed: true})
	w.report(follow.Status{TXID: 1, Tip: 3, Time: at, Behind: 2 * time.Second, Waiting: true})
	w.report(follow.Status{TXID: 1, Tip: 3, Err: &restore.Error{Op: "open", Name: "x", Err: errors.New("no route"), Hint: "try later"}})
	w.report(follow.Status{TXID: 3, Tip: 3, Time: at, Files: 2, Bytes: 2048, Duration: time.Second})
	if err := w.end(); err != nil {
		t.Fatal(err)
	}
	const line = "\r\x1b[Kcopy.db: TXID "
	want := line + "0000000000000001 of 2026-01-02T03:04:05Z, as it was left" +
		line + "0000000000000001 of 2026-01-02T03:04:05Z, behind by 2 and 2s, wa…\n" +
		"walvfs: open x: no route\n        try later\n" +
		line + "0000000000000003 of 2026-01-02T03:04:05Z, from 2 files (2.0 KiB)…\n" +
		"copy.db: stopped at TXID 0000000000000003\n"
	if out.String() != want {
		t.Errorf("got  %q\nwant %q", out.String(), want)
	}
}
