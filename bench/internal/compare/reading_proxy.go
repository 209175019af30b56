package compare

import (
	"cmp"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// traffic is what was asked of the store.
type traffic struct {
	Requests int   `json:"requests"`
	Rounds   int   `json:"rounds"` // of requests that came after each other: the longest chain
	Bytes    int64 `json:"bytes"`  // of answers
}

// A timeline has the requests that went through a proxy, which makes each of them wait.
type timeline struct {
	latency time.Duration

	mu   sync.Mutex
	done []timedRequest
}

type timedRequest struct {
	begin, end time.Time
	bytes      int64
}

// far lends a replica that is far away.
func (t *timeline) far(l *lender, near *storagetest.Replica) *storagetest.Replica {
	return near.Proxy(l, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		begin := time.Now()
		time.Sleep(t.latency)
		answer := &countingWriter{ResponseWriter: w, host: r.Host}
		defer func() { // also if the client has gone
			t.mu.Lock()
			defer t.mu.Unlock()
			t.done = append(t.done, timedRequest{begin, time.Now(), answer.n})
		}()
		next.ServeHTTP(answer, r)
	})
}

// take returns what was asked since it was last called.
func (t *timeline) take() traffic {
	t.mu.Lock()
	done := t.done
	t.done = nil
	t.mu.Unlock()
	return chains(done)
}

// chains counts requests. One that begins after another has ended may be because of its answer.
func chains(done []timedRequest) (sum traffic) {
	slices.SortFunc(done, func(a, b timedRequest) int { return a.begin.Compare(b.begin) })
	ended := make([]int, len(done)) // by their end
	for i := range ended {
		ended[i] = i
	}
	slices.SortFunc(ended, func(a, b int) int { return done[a].end.Compare(done[b].end) })
	depth := make([]int, len(done))
	deepest, next := 0, 0
	for i, r := range done {
		for next < len(ended) && cmp.Compare(done[ended[next]].end.UnixNano(), r.begin.UnixNano()) <= 0 {
			deepest = max(deepest, depth[ended[next]])
			next++
		}
		depth[i] = deepest + 1
		sum.Rounds = max(sum.Rounds, depth[i])
		sum.Requests++
		sum.Bytes += r.bytes
	}
	return sum
}
