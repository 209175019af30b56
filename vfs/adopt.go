package vfs

// Adopt says which database, other than the file that wrote a replica, may go on
// from it.
type Adopt int

const (
	// AdoptMoved lets a database file go on that was moved.
	AdoptMoved Adopt = iota

	// AdoptEqual lets any database go on that equals the replica's newest state page
	// for page: a copy, one on another machine, one that Litestream replicated. An
	// original that still runs is fenced.
	AdoptEqual

	// AdoptNever lets only the file go on that wrote the replica.
	AdoptNever
)

// String returns the value of the URI parameter.
func (a Adopt) String() string {
	switch a {
	case AdoptEqual:
		return "equal"
	case AdoptNever:
		return "never"
	}
	return "moved"
}
