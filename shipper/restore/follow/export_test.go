package follow

import (
	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper/restore/internal/disk"
)

// SetStep has a function do each step of a follower that changes the disk.
func (o *Options) SetStep(step func(do func() error) error) { o.hooks.Step = step }

// FollowSuffix is of the file beside a copy.
const FollowSuffix = statefile.SuffixFollow

// DiskFile is what a test may take the place of.
type DiskFile = disk.File

// SetFile has a function wrap each file that a follower writes to.
func (o *Options) SetFile(wrap func(name string, f DiskFile) DiskFile) { o.hooks.File = wrap }
