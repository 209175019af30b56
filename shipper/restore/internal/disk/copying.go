package disk

import (
	"os"

	"github.com/walvfs/walvfs/format"
)

// Copying is how package follow differs from a restore. The zero value is a restore.
type Copying struct {
	// Prepare changes the restored file under its temporary name, before it is synced. The
	// header is the last applied file's.
	Prepare func(f *os.File, name string, h format.LTXHeader) error

	// Remember durably records the file's state, in place of a restore's record, right
	// before the file gets its own name.
	Remember func(name string) error
}
