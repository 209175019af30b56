package follow

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// A follower reports a connection that is silently gone.
func TestPeekHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &storagetest.Memory{Before: func(ctx context.Context, _, _ string) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		f := &follower{from: replica.New(store, replica.Options{}), state: &followFile{}, opts: Options{Interval: time.Second}, quiet: 1}
		start := time.Now()
		_, err := f.peek(t.Context())
		if err == nil || !strings.Contains(err.Error(), "no answer in 10s") || time.Since(start) != peekPatience {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	})
}

// The follower lists level 0 regularly, whatever the interval is: the next file may have
// come and gone.
func TestPeekLists(t *testing.T) {
	for interval, want := range map[time.Duration]int{time.Millisecond: 4, time.Second: 4, 10 * time.Second: 40, time.Minute: 120} {
		store := &storagetest.Memory{}
		f := &follower{from: replica.New(store, replica.Options{}), state: &followFile{}, opts: Options{Interval: interval}}
		lists := 0
		for f.quiet = range 120 {
			if list, err := f.peek(t.Context()); err != nil {
				t.Fatal(err)
			} else if list {
				lists++
			}
		}
		if lists != want {
			t.Errorf("every %s: %d listings in 120 polls, want %d", interval, lists, want)
		}
	}
}

// The follower does not request a file that a listing has shown.
func TestPeekBehind(t *testing.T) {
	f := &follower{from: replica.New(&storagetest.Memory{}, replica.Options{}), state: &followFile{}, opts: Options{Interval: time.Second}, quiet: 1, tip: 1}
	if list, err := f.peek(t.Context()); !list || err != nil {
		t.Errorf("%t, %v", list, err)
	}
}
