package tests

import (
	"testing"
	"time"

	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// TestOutage holds invariants 2, 5 and 6: whatever happens to the connections to the
// store, an application under load commits as before and can empty its WAL; once the
// connections work again, the replica converges.
func TestOutage(t *testing.T) {
	const up, down = storagetest.Requests, storagetest.Answers
	add := func(d storagetest.Direction, f storagetest.Fault) func(*storagetest.Toxiproxy) error {
		return func(p *storagetest.Toxiproxy) error { return p.Add(d, 1, f) }
	}
	for _, test := range []struct {
		name  string
		fault func(*storagetest.Toxiproxy) error
		effect
	}{
		{"the store is gone", (*storagetest.Toxiproxy).Down, fails},
		{"the connection is narrow", add(up, storagetest.Bandwidth(40)), slows},
		{"answers come late", add(down, storagetest.Latency(300*time.Millisecond, 200*time.Millisecond)), slows},
		{"requests hang", add(up, storagetest.Hang(0)), hangs},
		{"answers hang", add(down, storagetest.Hang(0)), hangs},
		{"half a request arrives", add(up, storagetest.LimitData(700)), fails},
		{"half an answer arrives", add(down, storagetest.LimitData(100)), fails},
		{"requests are reset", add(up, storagetest.ResetPeer(0)), fails},
		{"answers are reset", add(down, storagetest.ResetPeer(0)), fails},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			direct := storagetest.S3(t)
			proxy := direct.Toxiproxy(t)
			a := newApp(t, proxy.Replica)
			a.open()
			a.start()
			a.shipMore(2)
			if err := test.fault(proxy); err != nil {
				t.Fatal(err)
			}
			a.await(test.effect)
			shipped := a.shipped.Load()
			a.truncate()
			a.commitMore(100)
			if st := a.status(); test.effect != slows && (st.Lag == 0 || a.shipped.Load() != shipped) {
				t.Errorf("nothing is shipped, and the status does not show it: %+v", st)
			}
			if err := proxy.Up(); err != nil {
				t.Fatal(err)
			}
			a.settle()
			a.shipMore(2)
			a.end(direct)
		})
	}
}

// TestOutageCatchesUp: an outage of any length ends in one upload of the changed pages,
// after the upload that was under way when it began, if any.
func TestOutageCatchesUp(t *testing.T) {
	for _, test := range []struct {
		name    string
		before  bool // the outage begins before the first open
		restart bool
		most    int64 // uploads
	}{
		{"from before the first open", true, false, 1},
		{"from before the first open, over a restart", true, true, 1},
		{"in the middle", false, false, 2},
		{"in the middle, over a restart", false, true, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			direct := storagetest.S3(t)
			proxy := direct.Toxiproxy(t)
			a := newApp(t, proxy.Replica)
			if !test.before {
				a.open("close_timeout=10ms")
				a.start()
				a.shipMore(2)
			}
			if err := proxy.Down(); err != nil {
				t.Fatal(err)
			}
			if test.before {
				a.open("close_timeout=10ms")
				a.start()
			}
			a.commitMore(200)
			if test.restart {
				a.stop()
				if err := a.db.Close(); err != nil {
					t.Error(err)
				}
				a.open()
				a.start()
				a.commitMore(200)
			}
			a.retrying()
			a.truncate()
			a.commitMore(100)
			a.stop()
			if st := a.status(); st.State != shipper.Retrying || st.Err == nil || st.Lag <= 0 {
				t.Errorf("in the outage: %+v", st)
			}
			before := a.shipped.Load()
			if err := proxy.Up(); err != nil {
				t.Fatal(err)
			}
			a.settle()
			if n := a.shipped.Load() - before; n < 1 || n > test.most {
				t.Errorf("%d uploads for %d commits", n, a.commits.Load())
			}
			a.end(direct)
		})
	}
}

// TestCloseDuringHang: a close waits no longer than close_timeout for a store that does
// not answer, and the next run ships the remaining commits.
func TestCloseDuringHang(t *testing.T) {
	for _, direction := range []storagetest.Direction{storagetest.Requests, storagetest.Answers} {
		t.Run(string(direction), func(t *testing.T) {
			t.Parallel()
			direct := storagetest.S3(t)
			proxy := direct.Toxiproxy(t)
			a := newApp(t, proxy.Replica)
			a.open("close_timeout=50ms")
			a.start()
			a.shipMore(2)
			if err := proxy.Add(direction, 1, storagetest.Hang(0)); err != nil {
				t.Fatal(err)
			}
			a.await(hangs)
			a.stop()
			closed := make(chan error, 1)
			go func() { closed <- a.db.Close() }()
			select {
			case err := <-closed:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(blocked):
				t.Fatal("the close waits for the store")
			}
			if n := len(a.log.With("level=ERROR", "closed before the replica had every commit", "close_timeout=50ms is over")); n != 1 {
				t.Errorf("the log says it %d times:\n%s", n, a.log.With(""))
			}
			a.open() // still in the outage
			a.start()
			a.commitMore(50)
			if err := proxy.Up(); err != nil {
				t.Fatal(err)
			}
			a.end(direct)
		})
	}
}
