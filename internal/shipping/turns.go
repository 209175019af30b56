package shipping

import (
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/walvfs/walvfs/shipper/storage"
)

// MaxConcurrent is how many databases of a process ship commits to one bucket at the same
// time, at most. The other databases take turns, in the order in which they come: a busy
// database goes back to the end of the line. Files of levels and deletions have a quarter
// as many turns of their own, at least one: commits do not wait for them. Set it before
// the first database is opened.
var MaxConcurrent int64 = 64

// encoders limits how many cuts make files of levels at a time, since each takes a read
// transaction, memory and CPU time. After a common start, thousands of databases have a
// due file at the same time.
var encoders = semaphore.NewWeighted(mostEncoders)

const mostEncoders = 8

// turns holds the turns of a bucket.
type turns struct {
	raw  *semaphore.Weighted // for level 0
	rest *semaphore.Weighted // for all other uploads and deletions
}

var allTurns sync.Map // by storage.Bucket

func turnsOf(store storage.Store) *turns {
	bucket := storage.Bucket(store)
	if t, ok := allTurns.Load(bucket); ok {
		return t.(*turns)
	}
	t, _ := allTurns.LoadOrStore(bucket, &turns{
		raw:  semaphore.NewWeighted(MaxConcurrent),
		rest: semaphore.NewWeighted(max(1, MaxConcurrent/4)),
	})
	return t.(*turns)
}
