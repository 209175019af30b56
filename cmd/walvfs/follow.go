package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/restore/follow"
	"github.com/walvfs/walvfs/shipper/storage"
)

// follow is restore --follow. It ends when it is interrupted, which is a success if a
// copy exists.
func (c *restoreCmd) follow(a *app, store storage.Store) error {
	progress := a.newProgress(c.Quiet, fmt.Sprintf("%s: restoring from %s", c.Output, store))
	w := &followWriter{app: a, cmd: c, replica: store.String(), tty: isTerminal(a.stdout) && a.getenv("TERM") != "dumb", columns: columns(a.stdout)}
	err := follow.Run(a.ctx, store, c.Output, follow.Options{
		Options:  restore.Options{Force: c.Force, Progress: progress.update, Logger: progress.logger()},
		Interval: c.Interval,
		Report: func(r follow.Status) {
			if !w.begun {
				progress.end()
			}
			w.report(r)
		},
	})
	progress.end()
	switch {
	case errors.Is(err, restore.ErrNoReplica) && c.IfReplicaExists && !w.begun:
		return c.skip(a, "there is no replica at "+store.String())
	case w.begun && errors.Is(err, context.Cause(a.ctx)) && w.err == nil:
		return w.end()
	case w.err != nil:
		return w.err
	case errors.Is(err, restore.ErrExists):
		return &hintedError{err, forceHint + ", if it is not in use"}
	}
	return err
}

// followWriter reports the state of a copy: on a terminal, in one line that it
// overwrites; elsewhere, in a line for each change.
type followWriter struct {
	*app
	cmd     *restoreCmd
	replica string
	tty     bool
	columns int // of the terminal

	begun bool // the copy exists
	drawn bool // the cursor is in the line
	last  follow.Status
	err   error // of writing the output
}

// followed is one line of the output of --json.
type followed struct {
	DBPath        string      `json:"db_path"`
	Replica       string      `json:"replica"`
	TXID          format.TXID `json:"txid"`
	Time          time.Time   `json:"time"`
	Tip           format.TXID `json:"tip"`
	Behind        uint64      `json:"behind"` // TXIDs
	BehindSeconds float64     `json:"behind_seconds"`
	PageSize      uint32      `json:"page_size"`
	Pages         uint32      `json:"pages"`
	Files         int         `json:"files"`
	Bytes         int64       `json:"bytes"`
	DurationMS    int64       `json:"duration_ms"`
	Resumed       bool        `json:"resumed,omitempty"`
	Waiting       bool        `json:"waiting,omitempty"` // for a reader
	Error         string      `json:"error,omitempty"`
}

func (w *followWriter) report(r follow.Status) {
	w.begun, w.last = true, r
	switch {
	case w.err != nil:
	case w.cmd.JSON:
		w.err = w.json(r)
	case r.Err != nil:
		w.newLine()
		message, hint := remedy(r.Err)
		fmt.Fprintf(w.stderr, "walvfs: %s\n", message)
		if hint != "" {
			fmt.Fprintf(w.stderr, "        %s\n", hint)
		}
	case w.cmd.Quiet:
	case w.tty:
		_, w.err = fmt.Fprintf(w.stdout, "\r\x1b[K%s", fitting(w.line(r), w.columns))
		w.drawn = true
	default:
		_, w.err = fmt.Fprintln(w.stdout, w.line(r))
	}
}

func (w *followWriter) json(r follow.Status) error {
	f := followed{
		DBPath:        w.cmd.Output,
		Replica:       w.replica,
		TXID:          r.TXID,
		Time:          r.Time,
		Tip:           r.Tip,
		Behind:        uint64(r.Tip - r.TXID),
		BehindSeconds: r.Behind.Seconds(),
		PageSize:      r.PageSize,
		Pages:         r.Pages,
		Files:         r.Files,
		Bytes:         r.Bytes,
		DurationMS:    r.Duration.Milliseconds(),
		Resumed:       r.Resumed,
		Waiting:       r.Waiting,
	}
	if r.Err != nil {
		f.Error = r.Err.Error()
	}
	return json.NewEncoder(w.stdout).Encode(f)
}

func (w *followWriter) line(r follow.Status) string {
	line := w.cmd.Output + ": " + r.String()
	switch {
	case r.Resumed:
		line += ", as it was left"
	case r.Waiting:
		line += ", waiting for a reader of the copy"
	case r.Files > 0:
		line += fmt.Sprintf(", from %s (%s) in %s", count(r.Files, "file"), humanize.IBytes(uint64(r.Bytes)), r.Duration.Round(time.Millisecond))
	}
	return line
}

// fitting cuts off a line that would wrap: only its last row would be overwritten.
func fitting(line string, columns int) string {
	runes := []rune(line)
	if len(runes) < columns {
		return line
	}
	return string(runes[:columns-2]) + "…"
}

func (w *followWriter) newLine() {
	if w.drawn {
		fmt.Fprintln(w.stdout)
		w.drawn = false
	}
}

func (w *followWriter) end() error {
	w.newLine()
	if w.cmd.JSON || w.cmd.Quiet {
		return nil
	}
	_, err := fmt.Fprintf(w.stdout, "%s: stopped at TXID %s\n", w.cmd.Output, w.last.TXID)
	return err
}
