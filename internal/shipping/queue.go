package shipping

import (
	"context"
	"sync"
	"time"

	"github.com/walvfs/walvfs/shipper"
)

// A queue runs each job when it is due, independently of the other jobs. A job that fails
// or hangs delays no other job. A queue whose jobs are idle has no goroutine and no
// timer.
type queue struct {
	ctx    context.Context // passed to the jobs
	cancel context.CancelFunc
	rest   func() // called when nothing is due for a while

	mu      sync.Mutex
	jobs    []*job
	stopped bool
	running sync.WaitGroup // jobs
	beside  sync.WaitGroup // other goroutines, started by goes
	ended   chan struct{}  // closed when the next job ends
}

// A job is a task that runs again and again, in one goroutine at a time.
type job struct {
	queue *queue
	name  string

	// try runs the task. failed returns how long to wait before the next try, and done is
	// called after a success. No lock of the queue is held.
	try    func(context.Context) error
	failed func(error) time.Duration
	done   func()

	// soonest returns when the job may run again if it became due while it ran; nil uses
	// the time at which it is due. The lock of the queue is held.
	soonest func() time.Time

	// Guarded by queue.mu.
	state shipper.JobState
	at    time.Time // time of the next run, if the job waits
	again time.Time // when the job is due again, if it became due while it ran
	eager bool      // a failure of the current run is retried at once
	err   error     // of the last try
	timer *time.Timer
}

func newQueue(ctx context.Context, rest func()) *queue {
	q := &queue{rest: rest, ended: make(chan struct{})}
	q.ctx, q.cancel = context.WithCancel(ctx)
	return q
}

// add adds an idle job to the queue.
func (q *queue) add(j *job) *job {
	j.queue, j.state = q, shipper.JobIdle
	q.jobs = append(q.jobs, j)
	return j
}

// due makes a job run at a time, or earlier if it is due sooner already. A job that failed
// keeps the time of its retry.
func (j *job) due(at time.Time) {
	j.queue.mu.Lock()
	defer j.queue.mu.Unlock()
	switch j.state {
	case shipper.JobIdle:
		j.wait(shipper.JobWaiting, at)
	case shipper.JobWaiting:
		if at.Before(j.at) {
			j.wait(shipper.JobWaiting, at)
		}
	case shipper.JobRunning:
		if j.again.IsZero() || at.Before(j.again) {
			j.again = at
		}
	}
}

// shorten ends a pause after a failure no later than at a time.
func (j *job) shorten(at time.Time) {
	j.queue.mu.Lock()
	defer j.queue.mu.Unlock()
	if j.state == shipper.JobRetrying && at.Before(j.at) {
		j.wait(shipper.JobRetrying, at)
	}
}

// hurry ends a pause after a failure. If the job runs, and fails, it is tried again at
// once.
func (j *job) hurry(now time.Time) {
	j.queue.mu.Lock()
	defer j.queue.mu.Unlock()
	switch j.state {
	case shipper.JobRetrying:
		j.wait(shipper.JobRetrying, now)
	case shipper.JobRunning:
		j.eager = true
	}
}

// drop makes a waiting job idle: it has no work any more.
func (j *job) drop() {
	j.queue.mu.Lock()
	defer j.queue.mu.Unlock()
	switch j.state {
	case shipper.JobWaiting, shipper.JobRetrying:
		j.rest(shipper.JobIdle)
		j.err = nil
	case shipper.JobRunning:
		j.again = time.Time{}
	}
}

// wait sets the time of the next run. queue.mu must be held.
func (j *job) wait(state shipper.JobState, at time.Time) {
	j.state, j.at = state, at
	switch d := time.Until(at); {
	case d <= 0:
		j.begin()
		go j.run()
	case j.timer == nil:
		j.timer = time.AfterFunc(d, j.fire)
	default:
		j.timer.Reset(d)
	}
}

// rest sets a state without a next run. queue.mu must be held.
func (j *job) rest(state shipper.JobState) {
	j.state, j.at, j.again = state, time.Time{}, time.Time{}
	if j.timer != nil {
		j.timer.Stop()
	}
}

// fire begins a run, if its time has come.
func (j *job) fire() {
	j.queue.mu.Lock()
	waits := j.state == shipper.JobWaiting || j.state == shipper.JobRetrying
	if waits && time.Now().Before(j.at) {
		j.wait(j.state, j.at) // the timer was reset, or the clock was set back
		waits = false
	}
	if !waits {
		j.queue.mu.Unlock()
		return
	}
	j.begin()
	j.queue.mu.Unlock()
	j.run()
}

// begin marks a job as running. queue.mu must be held.
func (j *job) begin() {
	j.rest(shipper.JobRunning)
	j.eager = false
	j.queue.running.Add(1)
}

func (j *job) run() {
	defer j.queue.running.Done()
	for again := true; again; {
		err := j.try(j.queue.ctx)
		var pause time.Duration
		if err != nil && j.queue.ctx.Err() == nil {
			pause = j.failed(err)
		} else if err == nil && j.done != nil {
			j.done()
		}
		again = j.end(err, pause)
	}
	if j.queue.quiet() {
		j.queue.rest()
	}
}

// end notes the result of a run. It reports whether the job runs again at once.
func (j *job) end(err error, pause time.Duration) (again bool) {
	q := j.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	close(q.ended)
	q.ended = make(chan struct{})
	j.err = err
	if j.state == shipper.JobStopped {
		return false
	}
	at := j.again
	switch {
	case err != nil && j.eager:
		at = time.Now()
	case err != nil:
		at = time.Now().Add(pause)
	case !at.IsZero() && j.soonest != nil:
		at = j.soonest()
	}
	j.rest(shipper.JobIdle)
	switch {
	case at.IsZero():
		return false
	case !time.Now().Before(at):
		j.state, j.eager = shipper.JobRunning, false
		return true
	case err != nil:
		j.wait(shipper.JobRetrying, at)
	default:
		j.wait(shipper.JobWaiting, at)
	}
	return false
}

// goes runs f in a goroutine that is not a job. It reports false if the queue was
// stopped.
func (q *queue) goes(f func()) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopped {
		return false
	}
	q.beside.Go(f)
	return true
}

// stop ends all jobs. A running job ends as soon as it notices.
func (q *queue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, j := range q.jobs {
		j.rest(shipper.JobStopped)
	}
	q.stopped = true
	q.cancel()
}

// restFor is how long nothing may be due before the source may drop data that it can load
// again.
const restFor = time.Minute

// quiet reports whether no job runs, and none is due for a while.
func (q *queue) quiet() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, j := range q.jobs {
		if j.state == shipper.JobRunning || !j.at.IsZero() && time.Until(j.at) <= restFor {
			return false
		}
	}
	return true
}

func (q *queue) status() []shipper.Job {
	q.mu.Lock()
	defer q.mu.Unlock()
	jobs := make([]shipper.Job, len(q.jobs))
	for i, j := range q.jobs {
		jobs[i] = shipper.Job{Name: j.name, State: j.state, At: j.at, Err: j.err}
	}
	return jobs
}

// settled waits until no job except but runs. It does not wait for retries of failed
// jobs.
func (q *queue) settled(ctx context.Context, but *job) error {
	for {
		q.mu.Lock()
		busy := false
		for _, j := range q.jobs {
			busy = busy || j != but && j.state == shipper.JobRunning
		}
		ended := q.ended
		stopped := q.stopped
		q.mu.Unlock()
		switch {
		case stopped:
			return shipper.ErrClosed
		case !busy:
			return nil
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
