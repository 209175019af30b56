package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A killing defines when a process is killed: some time after it has printed a word a
// number of times. Without a killing, it ends by itself.
type killing struct {
	said  string
	times int
	delay time.Duration
}

func (k killing) String() string {
	if k.said == "" {
		return "not killed"
	}
	return fmt.Sprintf("killed %s after %q number %d", k.delay, k.said, k.times)
}

// A process is a child, seen from its parent.
type process struct {
	cmd  *exec.Cmd
	uri  string
	kill killing
	done chan struct{} // closed when it has ended and all its output is read
	log  bytes.Buffer  // its standard error

	mu      sync.Mutex
	said    map[string]int // counts by first word
	commits []commit       // whose COMMIT returned
	drained []commit       // whose Drain returned
	halted  string         // why replication stopped, "" if it runs
	bad     []string       // failures of the test
	killed  bool
}

// startChild starts a process. It ends with the test at the latest.
func startChild(t *testing.T, o order, env []string, k killing) *process {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{uri: o.URI, kill: k, done: make(chan struct{}), said: map[string]int{}}
	p.cmd = exec.Command(os.Args[0], "-test.run=^TestTorture$", "-test.timeout=5m")
	p.cmd.Env = slices.Concat(os.Environ(), env, []string{orderVar + "=" + string(text)})
	p.cmd.Stderr = &p.log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill() })
	p.hear("started")
	go func() {
		defer close(p.done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.hear(lines.Text())
		}
		p.end(p.cmd.Wait())
	}()
	return p
}

// hear records a line of the process's output.
func (p *process) hear(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	what, rest, _ := strings.Cut(line, " ")
	p.said[what]++
	if what == p.kill.said && p.said[what] == p.kill.times {
		time.AfterFunc(p.kill.delay, p.killNow)
	}
	var c commit
	switch what {
	case "commit", "drained":
		if _, err := fmt.Sscan(rest, &c.n, &c.id); err != nil {
			p.bad = append(p.bad, "it says "+line)
		}
	case "halted":
		p.halted = rest
	case "bad":
		p.bad = append(p.bad, rest)
	}
	switch what {
	case "commit":
		p.commits = append(p.commits, c)
	case "drained":
		p.drained = append(p.drained, c)
	}
}

func (p *process) killNow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed = true
	p.cmd.Process.Kill()
}

// end records how the process ended. Only a killed process has no exit code.
func (p *process) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil && (!p.killed || p.cmd.ProcessState.ExitCode() >= 0) {
		p.bad = append(p.bad, fmt.Sprintf("it ended: %v", err))
	}
	for _, word := range []string{"DATA RACE", "panic:", "fatal error:"} {
		if bytes.Contains(p.log.Bytes(), []byte(word)) {
			p.bad = append(p.bad, word)
		}
	}
}

// wait returns when the process has ended.
func (p *process) wait() { <-p.done }

// slowStatement is more than a statement takes with concurrent writers.
const slowStatement = 8 * time.Second
