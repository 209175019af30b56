package compare

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/shirou/gopsutil/v4/process"
)

// Usage is the resources that a process used while an application worked.
type Usage struct {
	CPU     float64 `json:"cpu_s"`        // seconds, of all cores, as measured by [cpuTime]
	Memory  uint64  `json:"memory_bytes"` // resident, the largest value seen
	Written uint64  `json:"written_bytes"`
}

// watchedProcess is a process that is measured from the outside, in the same way for all
// programs.
type watchedProcess struct {
	*process.Process
	start Usage
	peak  uint64
}

// watcher measures processes and a file repeatedly.
type watcher struct {
	wal    string // path
	stop   context.CancelFunc
	done   sync.WaitGroup
	procs  []*watchedProcess
	walMax int64
}

// lookEvery is how often a watcher measures: it misses peaks in between.
const lookEvery = 20 * time.Millisecond

// startWatching starts a watcher of processes and of a WAL.
func startWatching(ctx context.Context, wal string, pids ...int) (*watcher, error) {
	w := &watcher{wal: wal}
	for _, pid := range pids {
		p, err := process.NewProcess(int32(pid))
		if err != nil {
			return nil, err
		}
		used, err := usage(p)
		if err != nil {
			return nil, err
		}
		w.procs = append(w.procs, &watchedProcess{Process: p, start: used})
	}
	ctx, w.stop = context.WithCancel(ctx)
	w.done.Go(func() {
		for ctx.Err() == nil {
			w.look()
			select {
			case <-ctx.Done():
			case <-time.After(lookEvery):
			}
		}
	})
	return w, nil
}

// restart forgets the usage so far.
func (w *watcher) restart() (err error) {
	for _, p := range w.procs {
		var e error
		p.start, e = usage(p.Process)
		err = errors.Join(err, e)
	}
	return err
}

func (w *watcher) look() {
	if info, err := os.Stat(w.wal); err == nil {
		w.walMax = max(w.walMax, info.Size())
	}
	for _, p := range w.procs {
		if m, err := p.MemoryInfo(); err == nil {
			p.peak = max(p.peak, m.RSS)
		}
	}
}

// end returns the usage of each process since the restart, and the largest size of the
// WAL.
func (w *watcher) end() (used []Usage, wal int64, err error) {
	w.stop()
	w.done.Wait()
	w.look()
	for _, p := range w.procs {
		now, e := usage(p.Process)
		err = errors.Join(err, e)
		used = append(used, Usage{
			CPU:     now.CPU - p.start.CPU,
			Memory:  p.peak,
			Written: now.Written - p.start.Written,
		})
	}
	return used, w.walMax, err
}

// usage returns a process's usage since it began.
func usage(p *process.Process) (Usage, error) {
	cpu, err := cpuTime(p)
	if err != nil {
		return Usage{}, err
	}
	io, err := p.IOCounters()
	if err != nil {
		return Usage{}, err
	}
	return Usage{CPU: cpu.Seconds(), Written: io.DiskWriteBytes}, nil
}
