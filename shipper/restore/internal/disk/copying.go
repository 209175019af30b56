package disk

import (
	"os"

	"github.com/walvfs/walvfs/format"
)

// Copying is what package follow does otherwise than a restore. The zero value is a
// restore.
type Copying struct {
	// Prepare changes the restored file under its temporary name, before it is synced.
	// The header is that of the last file that was applied.
	Prepare func(f *os.File, name string, h format.LTXHeader) error

	// Remember makes durable what is known of the file, in place of a restore's record,
	// right before it gets its own name.
	Remember func(name string) error
}
