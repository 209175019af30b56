package compare

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/host"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/mem"
)

// Machine is the machine of the benchmark, and the versions of the programs.
type Machine struct {
	System     string            `json:"system"`
	Processor  string            `json:"processor"`
	Cores      int               `json:"cores"`
	Memory     uint64            `json:"memory_bytes"`
	FileSystem string            `json:"file_system"` // of the databases
	Stores     string            `json:"stores"`      // the file system and the directory of stores
	Load       float64           `json:"load"`        // of the minute before, caused by other processes
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

// thisMachine asks the system. Unknown fields stay empty.
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
	m.FileSystem, m.Stores = fileSystem(os.TempDir()), fileSystem(storesIn)+" at "+storesIn
	if l, err := load.Avg(); err == nil {
		m.Load = l.Load1
	}
	return m
}

// versionsByName lists the versions in a fixed order.
func (m Machine) versionsByName() []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(m.Versions)) {
		all = append(all, name+" "+m.Versions[name])
	}
	return all
}

// versions returns the versions of the important modules and of Litestream, and walvfs's
// commit if there is a checkout.
func versions() map[string]string {
	v := map[string]string{"litestream": litestreamVersion}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, d := range info.Deps {
		switch d.Path {
		case "github.com/ncruces/go-sqlite3", "github.com/tetratelabs/wazero", "github.com/superfly/ltx":
			if d.Replace != nil {
				d = d.Replace
			}
			v[d.Path] = d.Version
		}
	}
	// "go run" does not record the commit.
	if commit, err := exec.Command("git", "describe", "--always", "--dirty").Output(); err == nil {
		v["walvfs"] = strings.TrimSpace(string(commit))
	}
	maps.Copy(v, serverVersions())
	return v
}

// serverVersions returns the versions of the stores and of toxiproxy: each is built from
// a small module that names the version.
func serverVersions() map[string]string {
	v := map[string]string{}
	_, here, _, _ := runtime.Caller(0)
	tools := filepath.Join(filepath.Dir(here), "../../../shipper/storage/storagetest/tools")
	for name, module := range map[string]string{
		"versitygw":       "github.com/versity/versitygw",
		"fake-gcs-server": "github.com/fsouza/fake-gcs-server",
		"toxiproxy":       "github.com/Shopify/toxiproxy/v2",
	} {
		text, _ := os.ReadFile(filepath.Join(tools, name, "go.mod"))
		required := regexp.MustCompile(regexp.QuoteMeta(module) + ` (v\S+)`)
		if m := required.FindSubmatch(text); m != nil {
			v[name] = string(m[1])
		}
	}
	return v
}
