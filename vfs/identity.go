package vfs

import (
	"errors"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/shipper"
)

// coded is an error that [errors.Is] takes for its code, too, as SQLite's errors do.
type coded struct {
	error
	code sqlite3.ExtendedErrorCode
}

func (c coded) Unwrap() []error { return []error{c.error, c.code} }

// identified has an error be [ErrFenced] if it is the shipper's.
func identified(err error) error {
	if errors.Is(err, shipper.ErrFenced) {
		return coded{err, ErrFenced}
	}
	return err
}
