package compare

import (
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
)

// planOf returns the plan of some flags, as "workload store peers duration rounds".
func planOf(t *testing.T, flags string) []string {
	t.Helper()
	o, err := parseFlags(strings.Fields(flags), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, c := range o.plan(o.chosenPeers()) {
		lines = append(lines, strings.Join([]string{c.Workload.Name, c.Store, strings.Join(c.Peers, ","),
			seconds(c.Duration).String(), strings.Repeat("I", c.Rounds)}, " "))
	}
	return lines
}

func TestPlan(t *testing.T) {
	const four = " versitygw plain,walvfs,walvfs-sync,litestream 2s II"
	for flags, want := range map[string][]string{
		"-quick": {"commit-1-normal" + four, "commit-1-full" + four, "paced" + four, "read" + four},
		"-quick -workload hot -store file -peers walvfs,plain -duration 9s -rounds 3": {"hot file walvfs,plain 9s III"},
		"-quick -workload paced-2s -peers plain,walvfs-0s":                            {"paced-2s versitygw plain,walvfs-0s 41s II"},
		"-workload commit-long":                 {"commit-long versitygw plain,walvfs-quiet,walvfs 1m15s III"},
		"-workload first-snapshot -rounds 2":    {"first-snapshot versitygw plain,walvfs 1m0s II"},
		"-workload commit-1-sync -duration 1s":  {"commit-1-sync versitygw walvfs-sync 1s IIIII"},
		"-workload paced-2s":                    {"paced-2s versitygw plain,walvfs,walvfs-0s,walvfs-sync,litestream 41s III"},
		"-workload idle,hot -peers walvfs":      {"hot versitygw walvfs 5s IIIII", "idle versitygw walvfs 1m0s I"},
		"-workload cost -rounds 4":              {"cost versitygw walvfs,litestream 10m0s I"},
		"-workload paced -peers walvfs-0s":      {"paced file walvfs-0s 5s IIIII", "paced versitygw walvfs-0s 5s IIIII", "paced fake-gcs-server walvfs-0s 5s IIIII", "paced versitygw+30ms walvfs-0s 5s IIIII", "paced fake-gcs-server+30ms walvfs-0s 5s IIIII"},
		"-workload paced -store file -quick":    {"paced file plain,walvfs,walvfs-sync,litestream 2s II"},
		"-workload idle -duration 3s -quick":    {"idle versitygw plain,walvfs,litestream 3s I"},
		"-workload idle -rounds 2 -peers plain": {"idle versitygw plain 1m0s II"},
	} {
		if got := planOf(t, flags); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, want %q", flags, got, want)
		}
	}
}

// Measurements that take long, or much space, are made only if a flag names them.
func TestPlanOfAll(t *testing.T) {
	all := strings.Join(planOf(t, ""), "\n")
	for _, w := range workloads {
		if got := strings.Contains(all, w.Name+" versitygw"); got == w.Asked {
			t.Errorf("%s is in the plan: %t", w.Name, got)
		}
	}
	o, err := parseFlags([]string{"-workload", "first-snapshot", "-size", "100"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if w := o.plan(o.chosenPeers())[0].Workload; w.Size != 100<<20 {
		t.Errorf("-size 100 are %d bytes", w.Size)
	}
}

// A first impression is ready before the coffee is.
func TestQuickIsQuick(t *testing.T) {
	o := &options{quick: true}
	if d := estimated(o.plan(o.chosenPeers())); d < time.Minute || d > 5*time.Minute {
		t.Errorf("-quick takes about %v", d)
	}
}
