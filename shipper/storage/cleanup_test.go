package storage_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/walvfs/walvfs/shipper/storage"
)

// A caller that gave up does not wait for a clean-up that hangs; the clean-up continues.
func TestCleanUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		var done time.Duration
		err := storage.CleanUp(ctx, func(ctx context.Context) error {
			select {
			case <-time.After(10 * time.Second):
				done = time.Since(began)
			case <-ctx.Done():
			}
			return nil
		})
		if took := time.Since(began); err == nil || took > 1200*time.Millisecond {
			t.Errorf("%v after %s", err, took)
		}
		time.Sleep(time.Minute)
		if done != 10*time.Second {
			t.Errorf("it did not go on: %s", done)
		}
		if err := storage.CleanUp(ctx, func(context.Context) error { return nil }); err != nil {
			t.Error(err) // it took no time
		}
	})
}
