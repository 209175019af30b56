package restore

// SetStep has a function do each step of a follower that changes the disk.
func (o *FollowOptions) SetStep(step func(do func() error) error) { o.hooks.step = step }

// FollowSuffix is of the file beside a copy.
const FollowSuffix = followSuffix
