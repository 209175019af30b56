package shipping

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/walvfs/walvfs/shipper"
)

// Each event changes a job in each state as the table says.
func TestJobStates(t *testing.T) {
	const far = time.Hour
	into := map[shipper.JobState]func(*testJob){
		shipper.JobIdle:     func(*testJob) {},
		shipper.JobWaiting:  func(j *testJob) { j.due(time.Now().Add(far)) },
		shipper.JobRunning:  func(j *testJob) { j.due(time.Now()); synctest.Wait() },
		shipper.JobRetrying: func(j *testJob) { j.due(time.Now()); j.result <- errTry; synctest.Wait() },
		shipper.JobStopped:  func(j *testJob) { j.queue.stop() },
	}
	events := []struct {
		name string
		do   func(*testJob)
		to   map[shipper.JobState]shipper.JobState
	}{
		{"due later", func(j *testJob) { j.due(time.Now().Add(2 * far)) },
			map[shipper.JobState]shipper.JobState{shipper.JobIdle: shipper.JobWaiting, shipper.JobWaiting: shipper.JobWaiting, shipper.JobRunning: shipper.JobRunning, shipper.JobRetrying: shipper.JobRetrying, shipper.JobStopped: shipper.JobStopped}},
		{"due now", func(j *testJob) { j.due(time.Now()) },
			map[shipper.JobState]shipper.JobState{shipper.JobIdle: shipper.JobRunning, shipper.JobWaiting: shipper.JobRunning, shipper.JobRunning: shipper.JobRunning, shipper.JobRetrying: shipper.JobRetrying, shipper.JobStopped: shipper.JobStopped}},
		{"its time", func(*testJob) { time.Sleep(far) },
			map[shipper.JobState]shipper.JobState{shipper.JobIdle: shipper.JobIdle, shipper.JobWaiting: shipper.JobRunning, shipper.JobRunning: shipper.JobRunning, shipper.JobRetrying: shipper.JobRunning, shipper.JobStopped: shipper.JobStopped}},
		{"hurry", func(j *testJob) { j.hurry(time.Now()) },
			map[shipper.JobState]shipper.JobState{shipper.JobIdle: shipper.JobIdle, shipper.JobWaiting: shipper.JobWaiting, shipper.JobRunning: shipper.JobRunning, shipper.JobRetrying: shipper.JobRunning, shipper.JobStopped: shipper.JobStopped}},
		{"nothing to do any more", (*testJob).drop,
			map[shipper.JobState]shipper.JobState{shipper.JobIdle: shipper.JobIdle, shipper.JobWaiting: shipper.JobIdle, shipper.JobRunning: shipper.JobRunning, shipper.JobRetrying: shipper.JobIdle, shipper.JobStopped: shipper.JobStopped}},
		{"success", func(j *testJob) { j.answer(nil) },
			map[shipper.JobState]shipper.JobState{shipper.JobIdle: shipper.JobIdle, shipper.JobWaiting: shipper.JobWaiting, shipper.JobRunning: shipper.JobIdle, shipper.JobRetrying: shipper.JobRetrying, shipper.JobStopped: shipper.JobStopped}},
		{"failure", func(j *testJob) { j.answer(errTry) },
			map[shipper.JobState]shipper.JobState{shipper.JobIdle: shipper.JobIdle, shipper.JobWaiting: shipper.JobWaiting, shipper.JobRunning: shipper.JobRetrying, shipper.JobRetrying: shipper.JobRetrying, shipper.JobStopped: shipper.JobStopped}},
		{"success, and due later", func(j *testJob) { j.dueWhileRunning(far); j.answer(nil) },
			map[shipper.JobState]shipper.JobState{shipper.JobIdle: shipper.JobIdle, shipper.JobWaiting: shipper.JobWaiting, shipper.JobRunning: shipper.JobWaiting, shipper.JobRetrying: shipper.JobRetrying, shipper.JobStopped: shipper.JobStopped}},
		{"success, and due now", func(j *testJob) { j.dueWhileRunning(0); j.answer(nil) },
			map[shipper.JobState]shipper.JobState{shipper.JobIdle: shipper.JobIdle, shipper.JobWaiting: shipper.JobWaiting, shipper.JobRunning: shipper.JobRunning, shipper.JobRetrying: shipper.JobRetrying, shipper.JobStopped: shipper.JobStopped}},
		{"failure, and due now", func(j *testJob) { j.dueWhileRunning(0); j.answer(errTry) },
			map[shipper.JobState]shipper.JobState{shipper.JobIdle: shipper.JobIdle, shipper.JobWaiting: shipper.JobWaiting, shipper.JobRunning: shipper.JobRetrying, shipper.JobRetrying: shipper.JobRetrying, shipper.JobStopped: shipper.JobStopped}},
		{"failure in a hurry", func(j *testJob) { j.hurryWhileRunning(); j.answer(errTry) },
			map[shipper.JobState]shipper.JobState{shipper.JobIdle: shipper.JobIdle, shipper.JobWaiting: shipper.JobWaiting, shipper.JobRunning: shipper.JobRunning, shipper.JobRetrying: shipper.JobRetrying, shipper.JobStopped: shipper.JobStopped}},
		{"stop", func(j *testJob) { j.queue.stop() },
			map[shipper.JobState]shipper.JobState{shipper.JobIdle: shipper.JobStopped, shipper.JobWaiting: shipper.JobStopped, shipper.JobRunning: shipper.JobStopped, shipper.JobRetrying: shipper.JobStopped, shipper.JobStopped: shipper.JobStopped}},
	}
	for _, event := range events {
		for from, to := range event.to {
			synctest.Test(t, func(t *testing.T) {
				j := newTestJob()
				defer j.end()
				into[from](j)
				if got := j.now().State; got != from {
					t.Fatalf("%s is not reached, but %s", from, got)
				}
				event.do(j)
				synctest.Wait()
				got := j.now()
				if got.State != to {
					t.Errorf("%s: %s becomes %s, not %s", event.name, from, got.State, to)
				}
				if waits := got.State == shipper.JobWaiting || got.State == shipper.JobRetrying; waits == got.At.IsZero() {
					t.Errorf("%s: %s becomes %s, at %s", event.name, from, got.State, got.At)
				}
			})
		}
		if len(event.to) != len(into) {
			t.Errorf("%s: %d of %d states", event.name, len(event.to), len(into))
		}
	}
}

// A job that hangs or always fails delays no other job, and stopping a queue ends its
// running jobs.
func TestJobsAreIndependent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t.Context(), func() {})
		add := func(name string, try func(context.Context) error) *job {
			return q.add(&job{name: name, try: try, failed: func(error) time.Duration { return time.Second }})
		}
		hung := add("hung", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		failing := add("failing", func(context.Context) error { return errTry })
		runs := 0
		var fine *job
		fine = add("fine", func(context.Context) error {
			runs++
			fine.due(time.Now().Add(time.Second))
			return nil
		})
		for _, j := range []*job{hung, failing, fine} {
			j.due(time.Now())
		}
		time.Sleep(100*time.Second + time.Millisecond)
		q.stop()
		q.running.Wait()
		if runs != 101 {
			t.Errorf("%d runs in 100 s", runs)
		}
	})
}

var errTry = errors.New("a try failed")

// A testJob ends its runs with results from the test.
type testJob struct {
	*job
	result chan error
}

func newTestJob() *testJob {
	j := &testJob{result: make(chan error)}
	q := newQueue(context.Background(), func() {})
	j.job = q.add(&job{
		name: "test",
		try: func(ctx context.Context) error {
			select {
			case err := <-j.result:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		},
		failed: func(error) time.Duration { return time.Hour },
	})
	return j
}

// answer ends a run, if the job runs.
func (j *testJob) answer(err error) {
	if j.now().State == shipper.JobRunning {
		j.result <- err
	}
}

func (j *testJob) dueWhileRunning(in time.Duration) {
	if j.now().State == shipper.JobRunning {
		j.due(time.Now().Add(in))
	}
}

func (j *testJob) hurryWhileRunning() {
	if j.now().State == shipper.JobRunning {
		j.hurry(time.Now())
	}
}

func (j *testJob) now() shipper.Job { return j.queue.status()[0] }

func (j *testJob) end() {
	j.queue.stop()
	j.queue.running.Wait()
}

// A job whose time comes from a wall clock, as file times do, runs even if the clock was
// set back while it waited.
func TestClockSetBackWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t.Context(), func() {})
		defer q.stop()
		ran := make(chan bool, 1)
		j := q.add(&job{name: "x", try: func(context.Context) error { ran <- true; return nil }, failed: func(error) time.Duration { return time.Second }})
		j.due(time.Now().Add(time.Minute).Round(0))
		q.mu.Lock()
		j.at = j.at.Add(time.Second) // as if the clock was set back by a second
		q.mu.Unlock()
		time.Sleep(time.Hour)
		synctest.Wait()
		select {
		case <-ran:
		default:
			t.Errorf("an hour later: %+v", q.status())
		}
	})
}
