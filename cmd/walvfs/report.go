package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
)

// Exit statuses.
const (
	statusOK          = 0
	statusFailed      = 1
	statusUsage       = 2
	statusNoReplica   = 3
	statusDamaged     = 4
	statusNotChecked  = 5
	statusInterrupted = 130 // 128 plus the number of SIGINT, as in shells
)

// usageError is a mistake in the command line.
type usageError struct {
	err  error
	hint string
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// hintedError adds a remedy to an error.
type hintedError struct {
	error
	hint string
}

func (e *hintedError) Unwrap() error { return e.error }

// interruptedError describes what an interrupted command leaves, if it has changed
// anything.
type interruptedError struct {
	error
	left string
}

func (e *interruptedError) Unwrap() error { return e.error }

// errDamaged ends a command that has already printed its findings.
var errDamaged = errors.New("damaged")

// errNotCheckable ends a command that has already printed what it could not check.
var errNotCheckable = errors.New("not checkable")

// report prints an error, with its remedy on a separate line, and returns the exit
// status.
func (a *app) report(err error) int {
	if err == nil {
		return statusOK
	}
	if a.interrupted(err) {
		left := "nothing was changed"
		if e, ok := errors.AsType[*interruptedError](err); ok {
			left = e.left
		}
		fmt.Fprintf(a.stderr, "walvfs: interrupted; %s\n", left)
		return statusInterrupted
	}
	switch {
	case errors.Is(err, errDamaged):
		return statusDamaged
	case errors.Is(err, errNotCheckable):
		return statusNotChecked
	}
	message, hint := remedy(err)
	fmt.Fprintf(a.stderr, "walvfs: %s\n", strings.ReplaceAll(message, "\n", "\n        "))
	if hint != "" {
		fmt.Fprintf(a.stderr, "        %s\n", hint)
	}
	switch {
	case isUsage(err):
		return statusUsage
	case errors.Is(err, restore.ErrNoReplica):
		return statusNoReplica
	}
	return statusFailed
}

// interrupted reports whether a signal is the only cause of an error.
func (a *app) interrupted(err error) bool {
	return a.ctx.Err() != nil && (errors.Is(err, context.Cause(a.ctx)) || errors.Is(err, a.ctx.Err()))
}

func isUsage(err error) bool {
	_, ok := errors.AsType[*usageError](err)
	return ok
}

const forceHint = "--force replaces the database and its -wal, -shm and -journal files"

// remedy separates an error's hint from its text, and names this command's flag for the
// remedy if it has one.
func remedy(err error) (message, hint string) {
	if e, ok := errors.AsType[*usageError](err); ok {
		hint = e.hint
	}
	if e, ok := errors.AsType[*storage.Error](err); ok {
		hint = e.Hint
	}
	if e, ok := errors.AsType[*restore.Error](err); ok && e.Hint != "" {
		hint = e.Hint
	}
	message = strings.Replace(err.Error(), " ("+hint+")", "", 1)
	if hint != "" && errors.Is(err, format.ErrCorrupt) {
		hint += "; walvfs verify finds out"
	}
	if e, ok := errors.AsType[*restore.Error](err); ok && e.Op == "restore to" && errors.Is(err, fs.ErrExist) {
		hint = forceHint + "; --if-db-not-exists leaves them be"
	}
	if e, ok := errors.AsType[*hintedError](err); ok {
		hint = e.hint
	}
	return message, hint
}
