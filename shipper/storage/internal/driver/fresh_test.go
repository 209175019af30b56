package driver

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestFresh: a value is loaded once, again after a refusal, and not for each of many
// refusals.
func TestFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var loads int
		var fail error
		f := Fresh[int]{Load: func() (int, error) { loads++; return loads, fail }}
		want := func(value, n int, err error) {
			t.Helper()
			if v, got := f.Get(); got != err || err == nil && v != value || loads != n {
				t.Errorf("got %d, %v after %d loads, want %d, %v after %d", v, got, loads, value, err, n)
			}
		}
		want(1, 1, nil)
		want(1, 1, nil)
		f.Refused()
		f.Refused()
		want(2, 2, nil) // immediately, the first time
		want(2, 2, nil)
		f.Refused()
		want(2, 2, nil)
		time.Sleep(calm)
		want(3, 3, nil) // the refusal is not forgotten
		want(3, 3, nil)

		fail = errors.New("half a file")
		time.Sleep(calm)
		f.Refused()
		want(0, 4, fail)
		want(0, 5, fail)
		fail = nil
		want(6, 6, nil)
		want(6, 6, nil)
	})
}
