package compare

import (
	"os"
	"testing"
	"time"

	"github.com/shirou/gopsutil/v4/process"
)

// The CPU clock counts work of all threads, not sleep, at a finer resolution than ticks.
func TestCPUTime(t *testing.T) {
	p, err := process.NewProcess(int32(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	used := func(do func()) time.Duration {
		before, err := cpuTime(p)
		if err != nil {
			t.Fatal(err)
		}
		do()
		after, err := cpuTime(p)
		if err != nil {
			t.Fatal(err)
		}
		return after - before
	}
	times, err := p.Times()
	if err != nil {
		t.Fatal(err)
	}
	since, err := cpuTime(p)
	if ticks := seconds(times.User + times.System); err != nil || since < ticks-50*time.Millisecond || since > ticks+200*time.Millisecond {
		t.Errorf("%v in all, in ticks %v, %v", since, ticks, err)
	}
	asleep := used(func() { time.Sleep(100 * time.Millisecond) })
	if asleep > 20*time.Millisecond {
		t.Errorf("%v asleep", asleep)
	}
	work := func() {
		for start := time.Now(); time.Since(start) < 3*time.Millisecond; {
		}
	}
	if awake := used(work); awake == 0 || awake > time.Second {
		t.Errorf("%v at work", awake)
	}
}
