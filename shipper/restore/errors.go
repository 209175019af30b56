package restore

import (
	"fmt"
	"io/fs"

	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/restore/internal/disk"
)

// Errors that a caller can test for with [errors.Is].
var (
	// ErrNoReplica: the replica has no files, and a listing proves it.
	ErrNoReplica = replica.ErrNone

	// ErrExists: the target, or a file that SQLite would treat as part of it, exists, and
	// Options.Force is not set.
	ErrExists = fs.ErrExist

	// ErrInUse: a process has the database open that Restore would replace.
	ErrInUse = disk.ErrInUse
)

// Error says which operation of a restore failed, on which object or file, why, and what
// may help.
type Error struct {
	Op   string // "list", "plan", "apply", "replace", ...
	Name string // the object's URL or the file's path
	Err  error
	Hint string // a remedy, if one is known
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%s %s: %v", e.Op, e.Name, e.Err)
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// createError is for a file in the target's directory.
func createError(name string, err error) error {
	return &Error{Op: "create", Name: name, Err: disk.Pathless(err), Hint: disk.CreateHint(err)}
}
