package main

import (
	"testing"

	"github.com/walvfs/walvfs/bench/clients/internal/clienttest"
)

func TestMain(m *testing.M) { clienttest.Main(m, main) }

// Migrations run once: a restart and another machine go on from the replica's version.
func TestProgram(t *testing.T) {
	p := clienttest.New(t)
	if got, want := p.Run(), "migrated to 1\nmigrated to 2\n2 orders, 220 cents"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := p.RestoreTXID(2, "SELECT max(version_id) FROM goose_db_version"); got != "1" {
		t.Error("between the migrations, the replica has version", got)
	}
	if got, want := p.Run(), "3 orders, 340 cents"; got != want {
		t.Errorf("started again: got %q, want %q", got, want)
	}
	p.LoseMachine()
	if got, want := p.Run(), "4 orders, 460 cents"; got != want {
		t.Errorf("on another machine: got %q, want %q", got, want)
	}
	if got, want := p.Restore("SELECT group_concat(version_id) || ': ' || (SELECT sum(cents) FROM orders) FROM goose_db_version"), "0,1,2: 460"; got != want {
		t.Errorf("restored: got %q, want %q", got, want)
	}
}
