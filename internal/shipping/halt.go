package shipping

import (
	"errors"
	"time"

	"github.com/walvfs/walvfs/shipper"
)

// halt stops shipping for good: only an operator can decide how to continue. The log
// repeats the message until the database is closed, since one line is easily missed and
// the application keeps running without protection.
func (s *Shipper) halt(err error) {
	s.fenced.Store(errors.Is(err, shipper.ErrFenced) || errors.Is(err, shipper.ErrDiverged))
	s.become(shipper.Halted, err)
	since := time.Now()
	s.logHalt(err, since)
	s.queue.goes(func() { s.repeatHalt(err, since) })
	s.queue.stop()
	s.settle()
	s.finish(err)
}

// The pauses between two log messages about a halt double up to the longest.
const (
	firstHaltPause   = time.Minute
	longestHaltPause = 10 * time.Minute
)

func (s *Shipper) repeatHalt(err error, since time.Time) {
	for pause := firstHaltPause; ; pause = min(2*pause, longestHaltPause) {
		t := time.NewTimer(pause)
		select {
		case <-t.C:
			s.logHalt(err, since)
		case <-s.ctx.Done():
			t.Stop()
			return
		}
	}
}

func (s *Shipper) logHalt(err error, since time.Time) {
	attrs := []any{"error", err, "halted_for", time.Since(since).Round(time.Second), "lag", s.Lag()}
	if errors.Is(err, shipper.ErrFenced) { // other errors that halt name their remedy
		attrs = append(attrs, "remedy", fencedRemedy)
	}
	s.log.Error("replication halted; the application keeps running without it", attrs...)
}

const fencedRemedy = "find the other writer and stop one of the two; to keep the other writer's data, close this database and run walvfs restore; to keep this database's data, open it with diverged=overwrite"
