package shipping

import (
	"errors"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/walvfs/walvfs/shipper/storage"
)

// longestPause is the longest pause between two tries of a job on which commits depend.
const longestPause = 30 * time.Second

// slowRetry is the shortest pause after an error that only an operator can fix.
const slowRetry = 10 * time.Second

// retries tracks the pauses of a job after failures, and which failures are logged: the
// first, each with another remedy, and the others ever more rarely.
type retries struct {
	pauses *backoff.ExponentialBackOff
	since  time.Time // of the first failure, zero if the last try went well
	denied bool      // only an operator can end it
	remedy string    // of the last failure
	next   time.Time // when the failure is logged again
	quiet  time.Duration
}

func newRetries(longest time.Duration) *retries {
	return &retries{pauses: &backoff.ExponentialBackOff{
		InitialInterval:     200 * time.Millisecond,
		RandomizationFactor: 0.5,
		Multiplier:          2,
		MaxInterval:         longest,
	}}
}

// failed returns how long to wait before the next try, and whether to log it.
func (r *retries) failed(err error) (pause time.Duration, tell bool) {
	pause = r.pauses.NextBackOff()
	denied, remedy, now := storage.Refused(err), "", time.Now()
	if e, ok := errors.AsType[*storage.Error](err); ok {
		remedy = e.Hint
	}
	if denied {
		pause = max(pause, slowRetry)
	}
	switch {
	case r.since.IsZero():
		r.since, r.quiet = now, time.Minute
	case denied != r.denied || remedy != r.remedy:
	case now.Before(r.next):
		return pause, false
	default:
		r.quiet *= 2
	}
	r.denied, r.remedy, r.next = denied, remedy, now.Add(r.quiet)
	return pause, true
}

// level returns the log level of a failure.
func (r *retries) level() slog.Level {
	if r.denied {
		return slog.LevelError
	}
	return slog.LevelWarn
}

// lasts returns how long the job has failed.
func (r *retries) lasts() time.Duration { return time.Since(r.since).Round(time.Millisecond) }

// succeeded returns how long the job had failed, 0 if it had not.
func (r *retries) succeeded() (lasted time.Duration) {
	if !r.since.IsZero() {
		lasted = max(1, r.lasts())
	}
	r.pauses.Reset()
	r.since = time.Time{}
	return lasted
}
