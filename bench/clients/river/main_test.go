package main

import (
	"testing"

	"github.com/walvfs/walvfs/bench/clients/internal/clienttest"
)

func TestMain(m *testing.M) { clienttest.Main(m, main) }

// Each order was sent once, and the replica has the orders and their completed jobs,
// after a restart and on another machine.
func TestProgram(t *testing.T) {
	p := clienttest.New(t)
	for _, want := range []string{"completed send\n1 orders, 1 sent", "completed send\n2 orders, 2 sent"} {
		if got := p.Run(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	p.LoseMachine()
	if got, want := p.Run(), "completed send\n3 orders, 3 sent"; got != want {
		t.Errorf("on another machine: got %q, want %q", got, want)
	}
	const query = "SELECT group_concat(sent) || (SELECT ', ' || count(*) || ' ' || state FROM river_job GROUP BY state) FROM orders"
	if got, want := p.Restore(query), "1,1,1, 3 completed"; got != want {
		t.Errorf("restored: got %q, want %q", got, want)
	}
}
