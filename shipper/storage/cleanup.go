package storage

import (
	"context"
	"errors"
	"time"
)

// How long a clean-up may take, and how much of it somebody waits for who has given up.
const (
	cleanUpTime  = 30 * time.Second
	cleanUpGrace = 100 * time.Millisecond
)

var errCleaningUp = errors.New("the store has not answered yet")

// CleanUp runs what removes the remains of a request, also when the request's context is
// over, for up to half a minute. Whoever has given up waits for it no longer than a
// moment: then it goes on by itself, and CleanUp returns an error.
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
