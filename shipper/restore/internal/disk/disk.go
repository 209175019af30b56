// Package disk holds the file operations that packages restore and follow share: it
// creates, locks and renames files next to a database, and lets tests replace the disk.
package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/walvfs/walvfs/internal/statefile/diskhook"
)

// File is the operations of a restore on a file, apart from its name. It exists so that
// tests can make them fail.
type File interface {
	io.WriterAt
	Truncate(size int64) error
	Sync() error
}

// ErrInUse: a process has the file locked, or a database open.
var ErrInUse = errors.New("database is in use")

// Hooks let a test replace the disk, and read small files in pieces.
type Hooks struct {
	File  func(name string, f File) File
	Step  func(do func() error) error
	Piece int64 // size of a piece in bytes, with the bytes in flight in proportion; zero is the default
}

// Wrap returns the file through which all writes go.
func (h Hooks) Wrap(name string, f File) File {
	if h.File == nil {
		return f
	}
	return h.File(name, f)
}

// Do changes names on the disk. Tests check every state between two steps and make each
// step fail.
func (h Hooks) Do(step func() error) error {
	if h.Step == nil {
		return diskhook.DoRestoreStep(step)
	}
	return h.Step(step)
}

// SyncDir makes the names in a file's directory durable. It returns the directory's name.
func (h Hooks) SyncDir(path string) (name string, err error) {
	name = filepath.Dir(path)
	if runtime.GOOS == "windows" {
		return name, nil // Windows cannot sync directories
	}
	return name, h.Do(func() error {
		dir, err := os.Open(name)
		if err != nil {
			return err
		}
		return errors.Join(h.Wrap(name, dir).Sync(), dir.Close())
	})
}

// CreateHint returns the remedy for a file that cannot be created, if known.
func CreateHint(err error) string {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return "this user must be able to create files in that directory"
	}
	return ""
}
