package restore

// SetStep has a function do each step of a follower that changes the disk.
func (o *FollowOptions) SetStep(step func(do func() error) error) { o.hooks.step = step }

// FollowSuffix is of the file beside a copy.
const FollowSuffix = followSuffix

// DiskFile is what a test may take the place of.
type DiskFile = diskFile

// SetFile has a function wrap each file that a follower writes to.
func (o *FollowOptions) SetFile(wrap func(name string, f DiskFile) DiskFile) { o.hooks.file = wrap }
