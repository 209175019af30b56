package reader_test

import (
	"testing"

	"github.com/walvfs/walvfs/vfs/internal/dbtest"
)

// An open costs one listing and one request for each small file of the plan. Transactions
// ask at most once an interval, and without transactions no requests are made.
func TestRequests(t *testing.T) {
	store := dbtest.NewReplica(t)
	w := newWriter(t, store, 4096)
	w.levels()
	w.commit(3)
	w.close()
	plan, err := files(t, store).Plan(0)
	if err != nil {
		t.Fatal(err)
	}
	n := count(store)
	expect := func(what string, lists, opens int64) {
		t.Helper()
		if n.lists.Load() > lists || n.opens.Load() > opens {
			t.Errorf("%s: %s, want %d and %d at most", what, n, lists, opens)
		}
		n.reset()
	}
	patient := dbtest.Open(t, uri(store, "interval=1h"))
	expect("open", 1, 2*int64(len(plan.Apply))+1) // and page 1

	dbtest.Query(t, patient, "SELECT sum(balance) FROM account")
	n.reset()
	for range 10 {
		dbtest.Query(t, patient, "SELECT sum(balance) FROM account")
	}
	expect("transactions within an interval", 0, 0)

	eager := dbtest.Open(t, uri(store, "interval=0s"))
	dbtest.Query(t, eager, "SELECT sum(balance) FROM account")
	n.reset()
	dbtest.Query(t, eager, "SELECT sum(balance) FROM account")
	expect("a transaction without news", 0, 1)

	moment := dbtest.Open(t, uri(store, "txid="+plan.TXID().String()))
	expect("a moment whose files are known", 1, 0)
	dbtest.Query(t, moment, "SELECT sum(balance) FROM account")
	expect("its transactions", 0, 0)

	store.SetBefore(nil)
	w.reopen()
	dbtest.Exec(t, w.Conn, "UPDATE account SET balance = balance + 1")
	news := int64(dbtest.Settled(t, w.path) - plan.TXID())
	w.close()
	n = count(store)
	dbtest.Query(t, eager, "PRAGMA walvfs_txid")
	expect("no transaction", 0, 0)
	dbtest.Query(t, eager, "SELECT sum(balance) FROM account")
	expect("a transaction with news", 1, 1+news)
}
