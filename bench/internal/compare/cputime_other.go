//go:build !linux

package compare

import (
	"time"

	"github.com/shirou/gopsutil/v4/process"
)

// cpuTime is as exact as the system's list of processes.
func cpuTime(p *process.Process) (time.Duration, error) {
	t, err := p.Times()
	if err != nil {
		return 0, err
	}
	return seconds(t.User + t.System), nil
}
