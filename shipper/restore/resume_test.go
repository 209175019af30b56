package restore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
)

// quickly runs a test in which waiting takes no time.
func quickly(t *testing.T, test func(t *testing.T)) { synctest.Test(t, test) }

// A connection that breaks every few bytes costs only time.
func TestResume(t *testing.T) {
	for _, every := range []int64{1, 7, 99, 600} {
		quickly(t, func(t *testing.T) {
			s := smallReplica(t)
			s.store.body = func(_ context.Context, _ string, _ int64, r io.Reader) io.Reader {
				return &breakAfter{r, every, errReset}
			}
			restoreAs(t, s, Options{}, s.images[smallTip])
		})
	}
}

func TestResumeAfterPrematureEnd(t *testing.T) {
	quickly(t, func(t *testing.T) {
		s := smallReplica(t)
		s.store.body = func(_ context.Context, _ string, _ int64, r io.Reader) io.Reader {
			return &breakAfter{r, 100, io.EOF}
		}
		restoreAs(t, s, Options{}, s.images[smallTip])
	})
}

// The download survives a store that is unreachable for a minute.
func TestResumeAfterOutage(t *testing.T) {
	quickly(t, func(t *testing.T) {
		s := smallReplica(t)
		start := time.Now()
		s.store.open = func(context.Context, string, int64) error {
			if time.Since(start) < time.Minute {
				return errReset
			}
			return nil
		}
		var log bytes.Buffer
		restoreAs(t, s, Options{Parallelism: 1, Logger: textLogger(&log)}, s.images[smallTip])
		if !strings.Contains(log.String(), "resuming") || !strings.Contains(log.String(), "connection reset") {
			t.Errorf("log is %q", &log)
		}
	})
}

func TestOutageEndsRestore(t *testing.T) {
	quickly(t, func(t *testing.T) {
		s := smallReplica(t)
		s.store.open = func(_ context.Context, key string, _ int64) error {
			if strings.HasSuffix(key, "4-0000000000000004.ltx") {
				return errReset
			}
			return nil
		}
		start := time.Now()
		_, err := Restore(t.Context(), s.store, t.TempDir()+"/app.db", Options{})
		if !errors.Is(err, errReset) || !strings.Contains(err.Error(), "4-0000000000000004.ltx") {
			t.Errorf("error is %v", err)
		}
		if took := time.Since(start); took < retryFor/2 || took > 2*retryFor {
			t.Errorf("gave up after %s", took)
		}
	})
}

// Restore does not request an object again that is gone or forbidden.
func TestNoRetry(t *testing.T) {
	for _, cause := range []error{storage.ErrNotExist, storage.ErrNoBucket, storage.ErrPermission} {
		quickly(t, func(t *testing.T) {
			s := smallReplica(t)
			s.store.open = func(context.Context, string, int64) error { return cause }
			start := time.Now()
			if err := mustFail(t, s, Options{}); !errors.Is(err, cause) {
				t.Errorf("error is %v", err)
			}
			if took := time.Since(start); took != 0 {
				t.Errorf("%v was retried for %s", cause, took)
			}
		})
	}
}

// Restore does not wait for an object that is shorter than listed, as it does for a store
// that is down.
func TestTruncatedIsSoonKnown(t *testing.T) {
	quickly(t, func(t *testing.T) {
		s := smallReplica(t)
		listAs(s, planKeys(s)[1], 0, 100)
		start := time.Now()
		if _, err := Restore(t.Context(), s.store, t.TempDir()+"/app.db", Options{}); !errors.Is(err, format.ErrCorrupt) {
			t.Errorf("error is %v", err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// Restore gives up on a peer that sends nothing, and requests the range again.
func TestStall(t *testing.T) {
	quickly(t, func(t *testing.T) {
		s := smallReplica(t)
		var stalled atomic.Int32
		s.store.body = func(ctx context.Context, _ string, offset int64, r io.Reader) io.Reader {
			if offset != 0 {
				return r
			}
			stalled.Add(1)
			return io.MultiReader(io.LimitReader(r, 200), readerFunc(func([]byte) (int, error) {
				<-ctx.Done()
				return 0, ctx.Err()
			}))
		}
		var log bytes.Buffer
		start := time.Now()
		restoreAs(t, s, Options{Parallelism: 1, Logger: textLogger(&log)}, s.images[smallTip])
		if stalled.Load() != smallFiles || !strings.Contains(log.String(), "no data was received for 30s") {
			t.Errorf("%d stalls, log is %q", stalled.Load(), &log)
		}
		if took := time.Since(start); took < smallFiles*30*time.Second {
			t.Errorf("took %s", took)
		}
	})
}
