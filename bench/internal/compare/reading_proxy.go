package compare

import (
	"cmp"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// traffic is the requests to the store.
type traffic struct {
	Requests int   `json:"requests"`
	Rounds   int   `json:"rounds"` // length of the longest chain of consecutive requests
	Bytes    int64 `json:"bytes"`  // of responses
}

// A timeline records the requests through a proxy, which delays each of them.
type timeline struct {
	latency time.Duration

	mu   sync.Mutex
	done []timedRequest
}

type timedRequest struct {
	begin, end time.Time
	bytes      int64
}

// far lends a distant replica.
func (t *timeline) far(l *lender, near *storagetest.Replica) *storagetest.Replica {
	return near.Proxy(l, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		begin := time.Now()
		time.Sleep(t.latency)
		answer := &countingWriter{ResponseWriter: w, host: r.Host}
		defer func() { // also after the client has gone
			t.mu.Lock()
			defer t.mu.Unlock()
			t.done = append(t.done, timedRequest{begin, time.Now(), answer.n})
		}()
		next.ServeHTTP(answer, r)
	})
}

// take returns the traffic since the last call.
func (t *timeline) take() traffic {
	t.mu.Lock()
	done := t.done
	t.done = nil
	t.mu.Unlock()
	return chains(done)
}

// chains counts requests. A request that begins after another has ended may depend on its
// response.
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
