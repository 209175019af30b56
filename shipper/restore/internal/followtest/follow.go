// Package followtest holds helpers for tests of followers: a follower whose reports a
// test can wait for, readers of its copy, and comparisons of the copy with the replica.
package followtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore/follow"
	"github.com/walvfs/walvfs/shipper/storage"
)

// Following is a running follower.
type Following struct {
	t       *testing.T
	Path    string
	cancel  context.CancelFunc
	Done    chan error         // its final error
	Reports chan follow.Status // reports not waited for yet
	Seen    []follow.Status    // reports received
}

// Follow follows a replica until the test ends.
func Follow(t *testing.T, store storage.Store, path string, opts follow.Options) *Following {
	ctx, cancel := context.WithCancel(t.Context())
	f := &Following{t: t, Path: path, cancel: cancel, Done: make(chan error, 1), Reports: make(chan follow.Status, 10000)}
	opts.Interval = 5 * time.Millisecond
	opts.Report = func(r follow.Status) { f.Reports <- r }
	go func() { f.Done <- follow.Run(ctx, store, path, opts) }()
	t.Cleanup(cancel)
	return f
}

// Until waits for a report.
func (f *Following) Until(what string, ok func(follow.Status) bool) follow.Status {
	f.t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		select {
		case r := <-f.Reports:
			f.Seen = append(f.Seen, r)
			if ok(r) {
				return r
			}
		case err := <-f.Done:
			f.t.Fatalf("%s: it ended: %v", what, err)
		case <-timeout:
			f.t.Fatalf("%s: it did not come after %d reports; %+v", what, len(f.Seen), f.Seen[max(0, len(f.Seen)-3):])
		}
	}
}

// First returns the first report, or the error with which the follower ends.
func (f *Following) First() (follow.Status, error) {
	select {
	case r := <-f.Reports:
		return r, nil
	case err := <-f.Done:
		return follow.Status{}, err
	}
}

// At waits until the copy is at a TXID.
func (f *Following) At(txid format.TXID) follow.Status {
	f.t.Helper()
	return f.Until("TXID "+txid.String(), func(r follow.Status) bool { return r.TXID == txid && r.Err == nil && !r.Waiting })
}

// Latest returns the last report so far.
func (f *Following) Latest() follow.Status {
	for {
		select {
		case r := <-f.Reports:
			f.Seen = append(f.Seen, r)
		default:
			return f.Seen[len(f.Seen)-1]
		}
	}
}

// Eventually waits for a condition.
func Eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so: %s", what)
		}
	}
}

// Stop stops the follower.
func (f *Following) Stop() {
	f.t.Helper()
	f.cancel()
	if err := <-f.Done; !errors.Is(err, context.Canceled) {
		f.t.Fatal(err)
	}
}
