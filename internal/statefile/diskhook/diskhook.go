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

// StateFile, if set, wraps each state file that is opened for writing.
var StateFile atomic.Pointer[func(name string, disk Disk) Disk]

// RestoreStep, if set, wraps each operation with which a restore changes files, except
// for downloaded pages of the database.
var RestoreStep atomic.Pointer[func(do func() error) error]

// DoRestoreStep does an operation through RestoreStep.
func DoRestoreStep(do func() error) error {
	if step := RestoreStep.Load(); step != nil {
		return (*step)(do)
	}
	return do()
}

// WrapStateFile returns the disk through which the program writes a state file.
func WrapStateFile(name string, disk Disk) Disk {
	if wrap := StateFile.Load(); wrap != nil {
		return (*wrap)(name, disk)
	}
	return disk
}
