package shipping

import (
	"context"
	"sync"
	"time"

	"github.com/walvfs/walvfs/shipper"
)

// A queue runs jobs, each when it is due, and none because of another one. A job that
// fails or hangs keeps nobody else waiting. A queue whose jobs are idle has no
// goroutine and no timer.
type queue struct {
	ctx    context.Context // of what runs
	cancel context.CancelFunc
	rest   func() // is called when nothing is due for a while

	mu      sync.Mutex
	jobs    []*job
	stopped bool
	running sync.WaitGroup // jobs
	beside  sync.WaitGroup // what they began
	ended   chan struct{}  // closed when a job ends next
}

// A job is one kind of thing that is to be done, again and again, by one goroutine at a
// time.
type job struct {
	queue *queue
	name  string

	// try does it. failed says how long to wait before the next try, and done is told
	// of a success. No lock of the queue is held.
	try    func(context.Context) error
	failed func(error) time.Duration
	done   func()

	// soonest says when it may run again if it became due while it ran, nil for when it
	// is due. The lock of the queue is held.
	soonest func() time.Time

	// Guarded by queue.mu.
	state shipper.JobState
	at    time.Time // when it runs next, if it waits
	again time.Time // when it is due again, if that was while it ran
	eager bool      // if it fails now, it is tried again at once
	err   error     // of the last try
	timer *time.Timer
}

func newQueue(ctx context.Context, rest func()) *queue {
	q := &queue{rest: rest, ended: make(chan struct{})}
	q.ctx, q.cancel = context.WithCancel(ctx)
	return q
}

// add makes an idle job of the queue.
func (q *queue) add(j *job) *job {
	j.queue, j.state = q, shipper.JobIdle
	q.jobs = append(q.jobs, j)
	return j
}

// due has a job run at a time, or before that if it is due sooner already. One that
// failed has its own time.
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

// shorten has a pause after a failure end at a time at the latest.
func (j *job) shorten(at time.Time) {
	j.queue.mu.Lock()
	defer j.queue.mu.Unlock()
	if j.state == shipper.JobRetrying && at.Before(j.at) {
		j.wait(shipper.JobRetrying, at)
	}
}

// hurry ends a pause after a failure. If the job runs, and fails, there is none.
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

// drop makes a job that waits idle: there is nothing to do any more.
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

// rest has nothing happen by itself. queue.mu must be held.
func (j *job) rest(state shipper.JobState) {
	j.state, j.at, j.again = state, time.Time{}, time.Time{}
	if j.timer != nil {
		j.timer.Stop()
	}
}

// fire begins a run, if it is time for one.
func (j *job) fire() {
	j.queue.mu.Lock()
	waits := j.state == shipper.JobWaiting || j.state == shipper.JobRetrying
	if waits && time.Now().Before(j.at) {
		j.wait(j.state, j.at) // the timer was set anew, or the clock was set back
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

// begin makes a job one that runs. queue.mu must be held.
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

// end is told how a run went. It reports whether there is to be another one at once.
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

// goes runs something beside the jobs. It reports whether it does: the queue may have been
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

// stop ends all jobs, those that run as soon as they notice.
func (q *queue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, j := range q.jobs {
		j.rest(shipper.JobStopped)
	}
	q.stopped = true
	q.cancel()
}

// restFor is how long nothing is due before the source may forget what it can have
// again.
const restFor = time.Minute

// quiet reports whether nothing runs, and nothing is due for a while.
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

// settled waits until no job runs, but for one. A job that failed is not waited for.
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
