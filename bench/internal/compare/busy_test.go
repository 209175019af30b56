package compare

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// Other work includes only processes that are not the benchmark's.
func TestBusy(t *testing.T) {
	start := time.Now()
	earlier := processor{at: start, all: 100, stolen: 1, apart: map[int]float64{7: 10, 8: 5}}
	now := processor{at: start.Add(10 * time.Second), all: 110, stolen: 1.5, apart: map[int]float64{7: 14, 9: 3}}
	b := now.since(earlier)
	if b.Others != 0.3 || b.Stolen != 0.05 || !b.isBusy() {
		t.Errorf("%+v", b)
	}
	later := now
	later.at = later.at.Add(time.Second)
	if b := later.since(now); b.Others != 0 || b.Stolen != 0 || b.isBusy() {
		t.Errorf("of nothing: %+v", b)
	}
}

// Child processes of the benchmark's processes are the benchmark's, too.
func TestLookAtProcessor(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "sleep 60; true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	p, err := lookAtProcessor()
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{os.Getpid(), cmd.Process.Pid} {
		if _, ok := p.apart[pid]; !ok {
			t.Errorf("process %d is not the benchmark's: %+v", pid, p)
		}
	}
	if _, ok := p.apart[os.Getppid()]; ok || p.all == 0 {
		t.Errorf("%+v", p)
	}
	if !isApart(3, map[int]int{3: 2, 2: 0}) || isApart(4, map[int]int{4: 1, 1: 0}) {
		t.Error("the kernel's threads are children of process 2, and others are not")
	}
}
