package storage

import (
	"context"
	"errors"
	"time"
)

// How long a clean-up may take, and how long a cancelled caller waits for it.
const (
	cleanUpTime  = 30 * time.Second
	cleanUpGrace = 100 * time.Millisecond
)

var errCleaningUp = errors.New("the store has not answered yet")

// CleanUp removes the remains of a request by calling do, for up to half a minute, even
// after the request's context is over. A caller that gave up waits for it only a moment:
// then the clean-up continues in the background, and CleanUp returns an error.
func CleanUp(ctx context.Context, do func(context.Context) error) error {
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
		defer cancel()
		done <- do(ctx)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(cleanUpGrace):
		return errCleaningUp
	}
}
