package shipping

import (
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/walvfs/walvfs/shipper/storage"
)

// MaxConcurrent is how many databases of a process ship commits to one bucket at the same
// time, at most. The others take turns, in the order in which they come: one that is busy
// comes back to the end of the line. Files of levels, and what is deleted, have a quarter
// as many turns of their own, at least one: commits do not wait for them. It is to be set
// before the first database is opened.
var MaxConcurrent int64 = 64

// encoders are those who make files of levels, which takes a read transaction, memory
// and CPU time. After a common start, thousands of databases have one due at a time.
var encoders = semaphore.NewWeighted(mostEncoders)

const mostEncoders = 8

// turns are those of a bucket.
type turns struct {
	raw  *semaphore.Weighted // for level 0
	rest *semaphore.Weighted // for all else
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
