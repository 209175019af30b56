package vfs

import (
	"errors"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/shipper"
)

// coded is an error that also matches its code with [errors.Is], as SQLite's errors do.
type coded struct {
	error
	code sqlite3.ExtendedErrorCode
}

func (c coded) Unwrap() []error { return []error{c.error, c.code} }

// identified makes the shipper's ErrFenced match [ErrFenced], too.
func identified(err error) error {
	if errors.Is(err, shipper.ErrFenced) {
		return coded{err, ErrFenced}
	}
	return err
}
