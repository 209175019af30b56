package main

import (
	"bufio"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/walvfs/walvfs/bench/clients/internal/clienttest"
)

func TestMain(m *testing.M) { clienttest.Main(m, main) }

// service is a running program.
type service struct {
	t    *testing.T
	out  *bufio.Scanner
	addr string
	end  func() error // SIGTERM, and wait
}

func start(t *testing.T, p *clienttest.Program) *service {
	t.Helper()
	cmd := p.Command()
	cmd.Env = append(cmd.Env, "ADDR=localhost:0")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	s := &service{t: t, out: bufio.NewScanner(out)}
	s.end = func() error {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		if line := s.line(); line != "the replica has everything" {
			t.Errorf("said %q", line)
		}
		return cmd.Wait()
	}
	s.addr = strings.TrimPrefix(s.line(), "listening on ")
	return s
}

func (s *service) line() string {
	if !s.out.Scan() {
		s.t.Fatal("the program ended:", s.out.Err())
	}
	return s.out.Text()
}

// post returns the status of the answer.
func (s *service) post(path string, form url.Values) int {
	s.t.Helper()
	resp, err := http.PostForm("http://"+s.addr+path, form)
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// An order that was answered is in the replica at once; a visit is there when the service
// has ended. The next service goes on, on the same and on another machine.
func TestProgram(t *testing.T) {
	t.Parallel()
	p := clienttest.New(t)
	const query = "SELECT (SELECT count(*) FROM visits) || ' visits, orders ' || (SELECT group_concat(id) FROM orders)"
	for i, want := range []string{"3 visits, orders a", "6 visits, orders a,b", "9 visits, orders a,b,c"} {
		if i == 2 {
			p.LoseMachine()
		}
		s := start(t, p)
		id := string(rune('a' + i))
		if status := s.post("/orders", url.Values{"id": {id}}); status != http.StatusOK {
			t.Error("POST /orders:", status)
		}
		if orders := p.Restore("SELECT max(id) FROM orders"); orders != id {
			t.Errorf("after the answer, the replica's last order is %s", orders)
		}
		for range 3 {
			if status := s.post("/visits", nil); status != http.StatusOK {
				t.Error("POST /visits:", status)
			}
		}
		if err := s.end(); err != nil {
			t.Error("the end:", err)
		}
		if got := p.Restore(query); got != want {
			t.Errorf("restored: %s, want %s", got, want)
		}
	}
}

// While the store is away, an order is answered with 202. A retry that is answered with 200
// is in the replica, once.
func TestOutage(t *testing.T) {
	t.Parallel()
	p := clienttest.New(t)
	s := start(t, p)
	if status := s.post("/orders", url.Values{"id": {"a"}}); status != http.StatusOK {
		t.Fatal("POST /orders:", status)
	}
	replica := strings.TrimPrefix(p.Replica, "file://")
	if err := errors.Join(os.Rename(replica, replica+"-away"), os.WriteFile(replica, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if status := s.post("/orders", url.Values{"id": {"b"}}); status != http.StatusAccepted {
		t.Error("POST /orders while the store is away:", status)
	}
	if err := errors.Join(os.Remove(replica), os.Rename(replica+"-away", replica)); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); s.post("/orders", url.Values{"id": {"b"}}) != http.StatusOK; {
		if time.Now().After(deadline) {
			t.Fatal("the replica does not get the order")
		}
	}
	if got := p.Restore("SELECT group_concat(id) FROM orders"); got != "a,b" {
		t.Error("restored:", got)
	}
	if err := s.end(); err != nil {
		t.Error("the end:", err)
	}
}
