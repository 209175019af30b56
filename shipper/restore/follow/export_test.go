package follow

import (
	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper/restore/internal/disk"
)

// SetStep sets a function that runs each step of a follower that changes the disk.
func (o *Options) SetStep(step func(do func() error) error) { o.hooks.Step = step }

// FollowSuffix is the suffix of a copy's state file.
const FollowSuffix = statefile.SuffixFollow

// DiskFile is the file that a test may replace.
type DiskFile = disk.File

// SetFile sets a function that wraps each file that a follower writes to.
func (o *Options) SetFile(wrap func(name string, f DiskFile) DiskFile) { o.hooks.File = wrap }
