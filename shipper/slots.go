package shipper

import (
	"net/url"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/walvfs/walvfs/shipper/storage"
)

// MaxConcurrent is how many databases of a process ask one bucket for something at
// the same time, at most. The others take turns, in the order in which they come: one
// that is busy comes back to the end of the line. It is to be set before the first
// database is opened.
var MaxConcurrent int64 = 64

// encoders are those who make files of levels, which takes a read transaction, memory
// and CPU time. After a common start, thousands of databases have one due at a time.
var encoders = semaphore.NewWeighted(8)

// slots are the turns by bucket.
var slots sync.Map

func slotsOf(store storage.Store) *semaphore.Weighted {
	bucket := ""
	if u, err := url.Parse(store.String()); err == nil {
		bucket = u.Scheme + "://" + u.Host
	}
	if s, ok := slots.Load(bucket); ok {
		return s.(*semaphore.Weighted)
	}
	s, _ := slots.LoadOrStore(bucket, semaphore.NewWeighted(MaxConcurrent))
	return s.(*semaphore.Weighted)
}
