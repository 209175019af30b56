package main

import (
	"testing"

	"github.com/walvfs/walvfs/bench/clients/internal/clienttest"
)

func TestMain(m *testing.M) { clienttest.Main(m, main) }

// What generated code wrote is in the replica, and the program goes on from there after a
// restart and on another machine.
func TestProgram(t *testing.T) {
	p := clienttest.New(t)
	for _, want := range []string{"order 1 tea\norder 2 milk\n2 orders, 370 cents", "order 3 tea\norder 4 milk\n4 orders, 740 cents"} {
		if got := p.Run(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	p.LoseMachine()
	if got, want := p.Run(), "order 5 tea\norder 6 milk\n6 orders, 1110 cents"; got != want {
		t.Errorf("on another machine: got %q, want %q", got, want)
	}
	if got, want := p.Restore("SELECT group_concat(item) || ' ' || sum(cents) FROM orders"), "tea,milk,tea,milk,tea,milk 1110"; got != want {
		t.Errorf("restored: got %q, want %q", got, want)
	}
}
