package compare

import (
	"fmt"
	"time"

	"github.com/shirou/gopsutil/v4/process"
	"golang.org/x/sys/unix"
)

// cpuTime reads the process's CPU clock: to the nanosecond, including threads that have
// ended, and from the outside, so that it costs the process nothing. The times in
// /proc/PID/stat are in ticks of 10 ms, and an idle application may use no more than
// that.
//
// See clock_getcpuclockid(3): the kernel makes the clock's ID from the process's.
func cpuTime(p *process.Process) (time.Duration, error) {
	const schedulers = 2 // time on a core, as the scheduler accounts for it
	var t unix.Timespec
	if err := unix.ClockGettime(^p.Pid<<3|schedulers, &t); err != nil {
		return 0, fmt.Errorf("CPU clock of process %d: %w", p.Pid, err)
	}
	return time.Duration(t.Nano()), nil
}
