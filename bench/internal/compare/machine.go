package compare

import (
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/host"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/mem"
)

// Machine is what the benchmark ran on, and the versions of what it ran.
type Machine struct {
	System     string            `json:"system"`
	Processor  string            `json:"processor"`
	Cores      int               `json:"cores"`
	Memory     uint64            `json:"memory_bytes"`
	FileSystem string            `json:"file_system"` // of the databases
	Load       float64           `json:"load"`        // of the minute before: others at work
	Go         string            `json:"go"`
	Versions   map[string]string `json:"versions"`
}

// Settings are the flags' values.
type Settings struct {
	Quick     bool     `json:"quick"`
	Rounds    int      `json:"rounds"`
	Duration  string   `json:"duration"`
	Workloads []string `json:"workloads"`
	Stores    []string `json:"stores"`
	Peers     []string `json:"peers"`
	Latency   string   `json:"added_latency"`
}

// thisMachine asks the system. What it does not tell stays empty.
func thisMachine() Machine {
	m := Machine{Cores: runtime.NumCPU(), Go: runtime.Version(), Versions: versions()}
	if h, err := host.Info(); err == nil {
		m.System = strings.Join([]string{h.Platform, h.PlatformVersion, h.OS, h.KernelVersion, h.KernelArch}, " ")
	}
	if c, err := cpu.Info(); err == nil && len(c) > 0 {
		m.Processor = c[0].ModelName
	}
	if v, err := mem.VirtualMemory(); err == nil {
		m.Memory = v.Total
	}
	if u, err := disk.Usage(os.TempDir()); err == nil {
		m.FileSystem = u.Fstype
	}
	if l, err := load.Avg(); err == nil {
		m.Load = l.Load1
	}
	return m
}

// versions are those of the modules that matter, of Litestream, and walvfs's
// commit, where there is a checkout.
func versions() map[string]string {
	v := map[string]string{"litestream": litestreamVersion}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, d := range info.Deps {
		if d.Path == "github.com/ncruces/go-sqlite3" || d.Path == "github.com/superfly/ltx" {
			v[d.Path] = d.Version
		}
	}
	// "go run" does not record the commit.
	if commit, err := exec.Command("git", "describe", "--always", "--dirty").Output(); err == nil {
		v["walvfs"] = strings.TrimSpace(string(commit))
	}
	return v
}

// estimated is about how long all will take, setting up and restoring included.
func estimated(plan []*Comparison, rounds int) time.Duration {
	const around = 4 * time.Second
	var sum time.Duration
	for _, c := range plan {
		one := seconds(c.Duration)
		if c.Workload.Cost {
			sum += one + warmUp(time.Now())
			continue
		}
		sum += time.Duration(len(c.Peers)*roundsOf(c.Workload, rounds)) * (one + around + c.Workload.Settle)
	}
	return sum
}
