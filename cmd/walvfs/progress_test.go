package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/walvfs/walvfs/shipper/restore"
)

// The bar appears when its rate is meaningful, and disappears at the end.
func TestProgressOnTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		p := &progress{out: &out, title: "app.db: restoring", tty: true, columns: 80}
		half := restore.Progress{Files: 1, Bytes: 512, TotalFiles: 2, TotalBytes: 1024}
		p.update(half)
		if out.String() != "app.db: restoring\n" {
			t.Errorf("at once, the output is %q", out.String())
		}
		time.Sleep(time.Second)
		p.update(half)
		p.logger().Warn("trouble")
		p.update(half)
		p.end()
		for _, want := range []string{" 50%", "trouble", "(512 B/1.0 KiB"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("output is %q, want %q in it", out.String(), want)
			}
		}
		if !strings.HasSuffix(strings.TrimRight(out.String(), " "), "\r") {
			t.Errorf("the bar is still there: %q", out.String())
		}
	})
}

// On a narrow terminal, figures would make the bar wrap.
func TestProgressOnNarrowTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		p := &progress{out: &out, tty: true, columns: 40}
		half := restore.Progress{Bytes: 512, TotalBytes: 1024}
		p.update(half)
		time.Sleep(time.Second)
		p.update(half)
		p.end()
		if s := out.String(); !strings.Contains(s, " 50%") || strings.Contains(s, "B/") || strings.Contains(s, "s:") {
			t.Errorf("output is %q", s)
		}
	})
}

func TestProgressQuiet(t *testing.T) {
	var out strings.Builder
	p := &progress{out: &out, quiet: true, tty: true}
	p.update(restore.Progress{TotalBytes: 1})
	p.logger().Warn("trouble")
	p.end()
	if out.Len() != 0 {
		t.Errorf("output is %q", out.String())
	}
}

// Without a terminal, a fast restore prints one line.
func TestProgressLines(t *testing.T) {
	var out strings.Builder
	p := &progress{out: &out, title: "app.db: restoring"}
	for n := range int64(100) {
		p.update(restore.Progress{TXID: 7, Bytes: n, TotalFiles: 2, TotalBytes: 100})
	}
	p.end()
	if want := "app.db: restoring: TXID 0000000000000007, 2 files, 100 B\n"; out.String() != want {
		t.Errorf("output is %q, want %q", out.String(), want)
	}
}

// A slow restore prints its rate and the remaining time now and then.
func TestProgressPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		p := &progress{out: &out, title: "app.db: restoring"}
		for n := range int64(4) {
			p.update(restore.Progress{TXID: 7, Bytes: n * 5 << 20, TotalFiles: 2, TotalBytes: 30 << 20})
			time.Sleep(5 * time.Second)
		}
		want := "app.db: restoring: TXID 0000000000000007, 2 files, 30 MiB\n33%: 10 MiB of 30 MiB, 1.0 MiB/s, 20s left\n"
		if out.String() != want {
			t.Errorf("output is %q, want %q", out.String(), want)
		}
	})
}
