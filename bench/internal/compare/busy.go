package compare

import (
	"os"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/process"
)

// Busy is other work of the machine while a run was counted. A loss that it causes is not
// the peer's.
type Busy struct {
	Load   float64 `json:"load"`   // of the last minute, at the end; includes the benchmark's load
	Others float64 `json:"others"` // cores, used by processes other than the benchmark's
	Stolen float64 `json:"stolen"` // cores, used by other virtual machines
}

// busyFrom is how many cores of other work make a machine busy.
const busyFrom = 0.1

// isBusy reports whether the figures of a run are doubtful.
func (b Busy) isBusy() bool { return b.Others+b.Stolen >= busyFrom }

// processor is the CPU used so far, in seconds.
type processor struct {
	at          time.Time
	all, stolen float64         // by all processes, and by other virtual machines
	apart       map[int]float64 // of all, by the benchmark's processes and the kernel's
}

// lookAtProcessor finds the benchmark's processes by their parents. The kernel's threads
// usually write data of the benchmark.
func lookAtProcessor() (p processor, err error) {
	times, err := cpu.Times(false)
	if err != nil || len(times) == 0 {
		return p, err
	}
	t := times[0]
	p = processor{at: time.Now(), all: t.User + t.Nice + t.System, stolen: t.Steal, apart: map[int]float64{}}
	procs, err := process.Processes()
	if err != nil {
		return p, err
	}
	parents := map[int]int{}
	for _, proc := range procs {
		if parent, err := proc.Ppid(); err == nil {
			parents[int(proc.Pid)] = int(parent)
		}
	}
	for _, proc := range procs {
		if !isApart(int(proc.Pid), parents) {
			continue
		}
		if used, err := cpuTime(proc); err == nil {
			p.apart[int(proc.Pid)] = used.Seconds()
		}
	}
	return p, nil
}

// isApart reports whether a process is the benchmark's or the kernel's. The kernel's
// threads are children of process 2.
func isApart(pid int, parents map[int]int) bool {
	for ; pid > 0; pid = parents[pid] {
		if pid == os.Getpid() || pid == 2 {
			return true
		}
	}
	return false
}

// since returns the other work between an earlier look and this one.
func (p processor) since(earlier processor) Busy {
	seconds := p.at.Sub(earlier.at).Seconds()
	others := p.all - earlier.all
	for pid, used := range p.apart {
		others -= used - earlier.apart[pid]
	}
	b := Busy{Others: max(0, others/seconds), Stolen: max(0, (p.stolen-earlier.stolen)/seconds)}
	if l, err := load.Avg(); err == nil {
		b.Load = l.Load1
	}
	return b
}
