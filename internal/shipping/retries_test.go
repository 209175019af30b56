package shipping

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/walvfs/walvfs/shipper/storage"
)

// TestFailuresAreLogged: a failure is logged once, then ever more rarely, and at once if
// its remedy changes.
func TestFailuresAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := &storage.Error{Op: "create", Err: errors.New("no space left"), Hint: "free space"}
		again := &storage.Error{Op: "create", Err: errors.New("no space left, request 2"), Hint: "free space"}
		gone := &storage.Error{Op: "create", Err: storage.ErrNoBucket, Hint: "create it"}
		r := newRetries(longestPause)
		for _, step := range []struct {
			after time.Duration
			err   error
			log   bool
		}{
			{0, full, true},
			{time.Second, again, false},
			{time.Second, gone, true},
			{time.Second, gone, false},
			{time.Second, full, true},
			{59 * time.Second, full, false},
			{time.Second, full, true},
			{time.Minute, full, false},
			{time.Minute, full, true},
			{time.Second, errors.New("another"), true},
		} {
			time.Sleep(step.after)
			if _, log := r.failed(step.err); log != step.log {
				t.Errorf("%v after %s: logged %v", step.err, step.after, log)
			}
		}
	})
}
