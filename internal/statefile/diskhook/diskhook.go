// Package diskhook lets tests stand between the program and its files.
package diskhook

import (
	"io"
	"sync/atomic"
)

// A Disk is an open file that is read and written at offsets.
type Disk interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
}

// StateFile wraps each state file that is opened for writing, if it is set.
var StateFile atomic.Pointer[func(name string, disk Disk) Disk]

// RestoreStep stands between a restore and each operation with which it changes files,
// other than the pages of the database that it downloads, if it is set.
var RestoreStep atomic.Pointer[func(do func() error) error]

// DoRestoreStep does one of these operations.
func DoRestoreStep(do func() error) error {
	if step := RestoreStep.Load(); step != nil {
		return (*step)(do)
	}
	return do()
}

// WrapStateFile returns what the program writes a state file through.
func WrapStateFile(name string, disk Disk) Disk {
	if wrap := StateFile.Load(); wrap != nil {
		return (*wrap)(name, disk)
	}
	return disk
}
