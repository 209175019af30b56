package replica

import (
	"context"
	"math/bits"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/walvfs/walvfs/format"
)

// searchDepth is how many steps of a search for a time read their headers in parallel,
// for every outcome of these steps: up to 15 headers, so 4 consecutive requests become
// one.
const searchDepth = 4

// HeadersFor returns about how many headers a search for a time among that many TXIDs
// reads.
func HeadersFor(txids int) int {
	const atOnce = 1<<searchDepth - 1
	rounds := (bits.Len(uint(txids)) + searchDepth - 1) / searchDepth
	return min(txids, atOnce*rounds+1)
}

// headersFor reads the headers that a search for a time needs, in a few rounds. It leaves
// out headers that it cannot read: the search gets the error, if it needs them.
func (r *Replica) headersFor(ctx context.Context, infos []format.FileInfo, at time.Time) map[format.FileInfo]format.LTXHeader {
	points, err := format.TimePoints(infos)
	if err != nil {
		return nil
	}
	read := &headers{replica: r, known: map[format.FileInfo]format.LTXHeader{}}
	low, high := 0, len(points) // the first point after the time is between these
	probes := []int{high - 1}   // the search needs the newest point, too
	for low < high {
		probes = midpoints(probes, low, high, searchDepth)
		slices.Sort(probes)
		read.side(ctx, points, slices.Compact(probes))
		probes = nil
		for range searchDepth {
			if low >= high {
				break
			}
			mid := int(uint(low+high) >> 1)
			switch when, ok := read.timeOf(points[mid]); {
			case !ok:
				return read.known
			case when.After(at):
				high = mid
			default:
				low = mid + 1
			}
		}
	}
	return read.known
}

// midpoints appends where the next steps of a binary search may look.
func midpoints(to []int, low, high, steps int) []int {
	if low >= high || steps == 0 {
		return to
	}
	mid := int(uint(low+high) >> 1)
	to = append(to, mid)
	to = midpoints(to, low, mid, steps-1)
	return midpoints(to, mid+1, high, steps-1)
}

// headers are the headers read so far.
type headers struct {
	replica *Replica

	mu    sync.Mutex
	known map[format.FileInfo]format.LTXHeader
}

// side reads headers of some points in parallel.
func (h *headers) side(ctx context.Context, points []format.FileInfo, some []int) {
	var g errgroup.Group
	for _, i := range some {
		f := points[i]
		if _, ok := h.timeOf(f); ok {
			continue
		}
		g.Go(func() error {
			if header, err := h.replica.Header(ctx, f); err == nil {
				h.mu.Lock()
				defer h.mu.Unlock()
				h.known[f] = header
			}
			return nil
		})
	}
	_ = g.Wait()
}

// timeOf returns when a file was cut, if known.
func (h *headers) timeOf(f format.FileInfo) (time.Time, bool) {
	if !f.Time.IsZero() {
		return f.Time, true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	header, ok := h.known[f]
	return time.UnixMilli(header.Timestamp), ok
}
