package main

import (
	"testing"

	"github.com/walvfs/walvfs/bench/clients/internal/clienttest"
)

func TestMain(m *testing.M) { clienttest.Main(m, main) }

// What GORM wrote is in the replica, and the program goes on from there after a restart
// and on another machine.
func TestProgram(t *testing.T) {
	p := clienttest.New(t)
	for _, want := range []string{"2 orders\n1 of tea in the replica", "4 orders\n2 of tea in the replica"} {
		if got := p.Run(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	p.LoseMachine()
	if got, want := p.Run(), "6 orders\n3 of tea in the replica"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := p.Restore("SELECT group_concat(item) FROM orders"); got != "tea,milk,tea,milk,tea,milk" {
		t.Error("restored:", got)
	}
}
