package reader_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
	"github.com/walvfs/walvfs/vfs/reader/internal/readertest"
)

// A connection moves to any moment, and back to the newest state, but not while a
// transaction or a statement reads.
func TestMoves(t *testing.T) {
	store := dbtest.NewReplica(t)
	w := newWriter(t, store, 4096)
	last := w.commit(30)
	conn := dbtest.Open(t, uri(store))
	const rows = "SELECT coalesce(max(n), 0) FROM journal"
	if got, want := dbtest.Query(t, conn, rows), dbtest.Query(t, w.Conn, rows); got != want {
		t.Fatalf("%s rows, not %s", got, want)
	}
	times := map[format.TXID]string{}
	for _, txid := range []format.TXID{last / 2, last - 1, last / 3} {
		if got := dbtest.Query(t, conn, fmt.Sprintf("PRAGMA walvfs_txid='%s'", txid)); got != txid.String() {
			t.Errorf("moved to %s, and is at %s", txid, got)
		}
		readertest.RequireRestored(t, conn, store, txid)
		restored, plain := dbtest.Restored(t, store, txid)
		if got, want := dbtest.Query(t, conn, rows), dbtest.Query(t, plain, rows); got != want {
			t.Errorf("TXID %s of %s: %s rows, not %s", txid, restored, got, want)
		}
		times[txid] = dbtest.Query(t, conn, "PRAGMA walvfs_time")
	}
	for txid, at := range times {
		dbtest.Exec(t, conn, "PRAGMA walvfs_txid='1'", "PRAGMA walvfs_time='"+strings.Replace(at, "T", " ", 1)+"'")
		if got := dbtest.Query(t, conn, "PRAGMA walvfs_txid"); got != txid.String() {
			t.Errorf("the time of TXID %s is that of %s", txid, got)
		}
		byURI := dbtest.Open(t, uri(store, "timestamp="+at))
		readertest.RequireRestored(t, byURI, store, txid)
	}

	at := dbtest.Query(t, conn, "PRAGMA walvfs_txid")
	dbtest.Exec(t, conn, "BEGIN")
	dbtest.Query(t, conn, rows)
	for _, move := range []string{"walvfs_txid='1'", "walvfs_txid=latest", "walvfs_time='2026-01-01T00:00:00Z'"} {
		if err := conn.Exec("PRAGMA " + move); err == nil || !strings.Contains(err.Error(), "transaction reads") {
			t.Errorf("%s in a transaction: %v", move, err)
		}
	}
	dbtest.Exec(t, conn, "COMMIT")
	if got := dbtest.Query(t, conn, "PRAGMA walvfs_txid"); got != at {
		t.Errorf("refused, and moved to %s", got)
	}
	if err := conn.Exec("PRAGMA walvfs_time='1999-01-01T00:00:00Z'"); err == nil {
		t.Error("moved to a time before the replica")
	}
	w.commit(1)
	if got := dbtest.Query(t, conn, "PRAGMA walvfs_txid"); got != at {
		t.Errorf("a connection that stays moved to %s", got)
	}
	dbtest.Exec(t, conn, "PRAGMA walvfs_txid=latest")
	readertest.RequireRestored(t, conn, store, 0)
}

// A reader waits for a writer's commits.
func TestWaitForTXID(t *testing.T) {
	store := dbtest.NewReplica(t)
	w := newWriter(t, store, 4096)
	at := w.commit(1)
	conn := dbtest.Open(t, uri(store, "interval=1h"))
	done := make(chan string, 1)
	go func() { done <- dbtest.Query(t, conn, fmt.Sprintf("PRAGMA walvfs_wait_txid='%s'", at+1)) }()
	for len(done) == 0 {
		w.commit(1)
	}
	if got, err := format.ParseTXID(<-done); err != nil || got <= at {
		t.Errorf("waited for TXID %s, and sees %s", at+1, got)
	}
	impatient := dbtest.Open(t, strings.Replace(uri(store), "vfs=replica&", "vfs=replica-impatient&", 1))
	if err := impatient.Exec("PRAGMA walvfs_wait_txid='ffff'"); err == nil || !strings.Contains(err.Error(), "after 300ms") {
		t.Errorf("a TXID that does not come: %v", err)
	}
	fixed := dbtest.Open(t, uri(store, "txid=1"))
	if err := fixed.Exec("PRAGMA walvfs_wait_txid=2"); err == nil || !strings.Contains(err.Error(), "latest") {
		t.Errorf("a connection that stays: %v", err)
	}
}

// The status shows the state of the connection, and why no newer state arrived.
func TestStatus(t *testing.T) {
	store := dbtest.NewReplica(t)
	w := newWriter(t, store, 4096)
	last := w.commit(3)
	w.close()
	conn := dbtest.Open(t, uri(store))
	dbtest.Exec(t, conn, "SELECT * FROM account")
	var st struct {
		Replica      string
		TXID, Newest format.TXID
		Fixed        bool
		Lag          float64
		Error        string
		PageSize     uint32 `json:"page_size"`
	}
	status := func() {
		t.Helper()
		st.Error = ""
		if err := json.Unmarshal([]byte(dbtest.Query(t, conn, "PRAGMA walvfs_status")), &st); err != nil {
			t.Fatal(err)
		}
	}
	status()
	if st.Replica != store.String() || st.TXID < last || st.Newest != st.TXID || st.Fixed || st.PageSize != 4096 || st.Error != "" {
		t.Errorf("%+v", st)
	}
	before := st.Lag
	dbtest.Down(store)
	dbtest.Exec(t, conn, "SELECT * FROM account")
	time.Sleep(time.Millisecond)
	status()
	if !strings.Contains(st.Error, "injected") || st.Lag <= before {
		t.Errorf("a store that fails: %+v, lag %v before", st, before)
	}
	store.SetBefore(nil)
	other := dbtest.Open(t, uri(store, "txid=1"))
	conn = other
	status()
	if !st.Fixed || st.TXID != 1 {
		t.Errorf("a moment: %+v", st)
	}
}
