package metrics_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/vfs"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
	"github.com/walvfs/walvfs/vfs/metrics"
)

func init() {
	vfs.Register("replicated-fast", vfs.Options{Policy: shipper.Policy{
		Levels:    []time.Duration{20 * time.Millisecond},
		Snapshots: 40 * time.Millisecond,
		Retention: vfs.Off,
	}})
}

// The exported values match the replica; counters outlive the database, and continue when
// it is reopened.
func TestCommits(t *testing.T) {
	w := newWorld(t, "replicated")
	for range 5 {
		w.exec("INSERT INTO t VALUES (randomblob(2000))")
		w.flush()
	}
	bytes, files := 0.0, 0.0
	for o, err := range w.store.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(o.Key, ".ltx") {
			bytes, files = bytes+float64(o.Size), files+1
		}
	}
	st, _ := dbtest.Status(w.path)
	open := w.uploaded(files)
	open.want(t, samples{
		w.db("walvfs_lag_seconds"):                          0,
		w.db("walvfs_lag_commits"):                          0,
		w.db("walvfs_lag_bytes"):                            0,
		w.db("walvfs_tip_txid"):                             files,
		w.db("walvfs_tip_timestamp_seconds"):                float64(st.Tip.Time.UnixMilli()) / 1000,
		w.db("walvfs_levels_error"):                         0,
		w.db("walvfs_unfenced"):                             0,
		w.state("starting"):                                 0,
		w.state("streaming"):                                1,
		w.state("retrying"):                                 0,
		w.state("halted"):                                   0,
		`walvfs_uploads_total{level="0"}`:                   files,
		`walvfs_uploaded_bytes_total{level="0"}`:            bytes,
		`walvfs_upload_duration_seconds_count{class="raw"}`: files,
		`walvfs_cut_duration_seconds_count{class="raw"}`:    files,
		`walvfs_requests_total{kind="put"}`:                 float64(st.Requests.Put),
		`walvfs_requests_total{kind="list"}`:                float64(st.Requests.List),
		`walvfs_resyncs_total`:                              0,
	})
	if files < 5 || open["walvfs_upload_lag_seconds_count"] == 0 || open["walvfs_upload_lag_seconds_sum"] <= 0 {
		t.Errorf("%v files, %v", files, open)
	}
	w.conn.Close()
	closed := w.scrape(t)
	closed.wantNone(t, "db=")
	for name, v := range open {
		if !strings.Contains(name, "db=") && closed[name] < v {
			t.Errorf("%s was %v and is %v", name, v, closed[name])
		}
	}
	w.open("replicated")
	w.exec("INSERT INTO t VALUES (1)")
	w.flush()
	again, _ := dbtest.Status(w.path)
	w.uploaded(files+float64(again.Uploads)).want(t, samples{
		`walvfs_requests_total{kind="put"}`: closed[`walvfs_requests_total{kind="put"}`] + float64(again.Requests.Put),
	})
}

// The metrics show an outage while it lasts: the state, the lag, and each try by kind of
// error.
func TestOutage(t *testing.T) {
	w := newWorld(t, "replicated")
	w.flush()
	before := w.uploaded(1)
	for _, kind := range shipper.ErrorKinds {
		before.want(t, samples{fmt.Sprintf("walvfs_errors_total{kind=%q}", kind): 0})
	}
	w.down()
	w.exec("INSERT INTO t VALUES (1)")
	w.exec("INSERT INTO t VALUES (2)")
	s := w.eventually("retrying, twice", func(s samples) bool {
		return s[w.state("retrying")] == 1 && s[`walvfs_errors_total{kind="store"}`] >= 2
	})
	s.want(t, samples{
		w.state("streaming"):                0,
		w.db("walvfs_tip_txid"):             before[w.db("walvfs_tip_txid")],
		w.db("walvfs_lag_commits"):          2,
		`walvfs_errors_total{kind="local"}`: 0,
		`walvfs_uploads_total{level="0"}`:   before[`walvfs_uploads_total{level="0"}`],
	})
	if s[w.db("walvfs_lag_seconds")] <= 0 || s[w.db("walvfs_lag_bytes")] <= 0 {
		t.Errorf("no lag: %v", s)
	}
	w.store.SetBefore(nil)
	w.flush()
	w.eventually("streaming", func(s samples) bool { return s[w.state("streaming")] == 1 }).want(t, samples{
		w.state("retrying"):        0,
		w.db("walvfs_lag_seconds"): 0,
		w.db("walvfs_lag_commits"): 0,
	})
}

// The metrics show that replication has halted: another writer has the next TXID.
func TestHalted(t *testing.T) {
	w := newWorld(t, "replicated")
	w.flush()
	st, _ := dbtest.Status(w.path)
	key := w.store.Layout().Key(0, st.Tip.TXID+1, st.Tip.TXID+1)
	if err := w.store.Create(t.Context(), key, bytes.NewReader([]byte("foreign")), storage.Attrs{Time: time.Now()}); err != nil {
		t.Fatal(err)
	}
	w.exec("INSERT INTO t VALUES (1)")
	fenced := `walvfs_errors_total{kind="fenced"}`
	s := w.eventually("halted, and counted", func(s samples) bool { return s[w.state("halted")] == 1 && s[fenced] > 0 })
	s.want(t, samples{w.state("streaming"): 0, fenced: 1})
	if s[w.db("walvfs_lag_seconds")] <= 0 {
		t.Error("a halted replica does not lag")
	}
}

// Waiting commits are counted by whether the replica had them in time.
func TestConfirmation(t *testing.T) {
	w := newWorld(t, "replicated", "durability=sync")
	defer w.store.SetBefore(nil)
	w.exec("INSERT INTO t VALUES (1)")
	confirmed, unconfirmed := `walvfs_commit_wait_seconds_count{outcome="confirmed"}`, `walvfs_commit_wait_seconds_count{outcome="unconfirmed"}`
	w.eventually("2 confirmed", func(s samples) bool { return s[confirmed] == 2 }).want(t, samples{unconfirmed: 0})
	w.down()
	w.open("replicated", "durability=sync", "sync_timeout=20ms")
	if err := w.conn.Exec("INSERT INTO t VALUES (2)"); !errors.Is(err, vfs.ErrUnconfirmed) {
		t.Errorf("got %v", err)
	}
	s := w.eventually("1 unconfirmed", func(s samples) bool { return s[unconfirmed] == 1 })
	s.want(t, samples{confirmed: 2})
	if got := s[`walvfs_commit_wait_seconds_sum{outcome="unconfirmed"}`]; got < .02 {
		t.Errorf("waited %v s", got)
	}
}

// Files of higher levels are counted separately, and so are their failures.
func TestLevels(t *testing.T) {
	w := newWorld(t, "replicated-fast")
	w.eventually("files of levels 1 and 9", func(s samples) bool {
		w.exec("INSERT INTO t VALUES (randomblob(100))")
		return s[`walvfs_uploads_total{level="1"}`] > 0 && s[`walvfs_uploads_total{level="9"}`] > 0
	})
	w.flush()
	s := w.scrape(t)
	for _, class := range []string{"levels", "snapshot"} {
		for _, name := range []string{"walvfs_cut_duration_seconds_count", "walvfs_upload_duration_seconds_count"} {
			if s[fmt.Sprintf("%s{class=%q}", name, class)] == 0 {
				t.Errorf("no %s of %s", name, class)
			}
		}
	}
	if s[`walvfs_uploaded_bytes_total{level="1"}`] == 0 || s[`walvfs_uploaded_bytes_total{level="9"}`] == 0 {
		t.Error("no bytes of levels")
	}
}

// Each event changes its own metrics, and no others.
func TestEvents(t *testing.T) {
	for _, test := range []struct {
		event shipper.Event
		want  samples // the metrics that are not 0
	}{
		{shipper.StateChanged{From: shipper.Starting, To: shipper.Halted, Err: errors.New("told by Failed")}, nil},
		{shipper.Failed{Kind: "bucket"}, samples{`walvfs_errors_total{kind="bucket"}`: 1}},
		{shipper.Deleted{Files: 7}, samples{"walvfs_deleted_files_total": 7}},
		{shipper.Resynced{Reason: "a long story"}, samples{"walvfs_resyncs_total": 1}},
		{shipper.Encoded{Level: 0, Took: 2 * time.Second}, samples{
			`walvfs_cut_duration_seconds_count{class="raw"}`: 1, `walvfs_cut_duration_seconds_sum{class="raw"}`: 2}},
		{shipper.Encoded{Level: 8, Took: 2 * time.Second}, samples{
			`walvfs_cut_duration_seconds_count{class="levels"}`: 1, `walvfs_cut_duration_seconds_sum{class="levels"}`: 2}},
		{shipper.Encoded{Level: 9, Took: 2 * time.Second}, samples{
			`walvfs_cut_duration_seconds_count{class="snapshot"}`: 1, `walvfs_cut_duration_seconds_sum{class="snapshot"}`: 2}},
		{shipper.Uploaded{Level: 0, Bytes: 10, Took: time.Second, Lag: 3 * time.Second}, samples{
			`walvfs_uploads_total{level="0"}`: 1, `walvfs_uploaded_bytes_total{level="0"}`: 10,
			`walvfs_upload_duration_seconds_count{class="raw"}`: 1, `walvfs_upload_duration_seconds_sum{class="raw"}`: 1,
			"walvfs_upload_lag_seconds_count": 1, "walvfs_upload_lag_seconds_sum": 3}},
		{shipper.Uploaded{Level: 4, Bytes: 10, Took: time.Second}, samples{
			`walvfs_uploads_total{level="4"}`: 1, `walvfs_uploaded_bytes_total{level="4"}`: 10,
			`walvfs_upload_duration_seconds_count{class="levels"}`: 1, `walvfs_upload_duration_seconds_sum{class="levels"}`: 1}},
		{shipper.Confirmed{Took: time.Second}, samples{
			`walvfs_commit_wait_seconds_count{outcome="confirmed"}`: 1, `walvfs_commit_wait_seconds_sum{outcome="confirmed"}`: 1}},
	} {
		s := newScraper(t, metrics.Options{})
		s.Tell(test.event)
		got := s.scrape(t)
		got.want(t, test.want)
		for name, v := range got {
			if _, ok := test.want[name]; !ok && v != 0 {
				t.Errorf("%+v: %s is %v", test.event, name, v)
			}
		}
		event := test.event
		if n := testing.AllocsPerRun(100, func() { s.Tell(event) }); n > 0 {
			t.Errorf("%T allocates %v times", event, n)
		}
	}
}

// The series of an event exist before the event: otherwise a rate would miss the first
// one.
func TestKnownFromTheStart(t *testing.T) {
	s := newScraper(t, metrics.Options{})
	fresh := s.scrape(t)
	for _, kind := range shipper.ErrorKinds {
		s.Tell(shipper.Failed{Kind: kind})
	}
	for _, level := range []int{0, 1, 2, 3, format.LevelSnapshot} {
		s.Tell(shipper.Encoded{Level: level})
		s.Tell(shipper.Uploaded{Level: level})
	}
	s.Tell(shipper.Confirmed{})
	s.Tell(shipper.Confirmed{Err: errors.New("late")})
	for name := range s.scrape(t) {
		if v, ok := fresh[name]; !ok || v != 0 {
			t.Errorf("at the start, %s is %v (%v)", name, v, ok)
		}
	}
}

// A closed collector stops counting, and other collectors continue.
func TestClose(t *testing.T) {
	w := newWorld(t, "replicated")
	w.flush()
	other := newScraper(t, metrics.Options{})
	w.uploaded(1)
	w.Close()
	w.Close()
	w.exec("INSERT INTO t VALUES (1)")
	w.conn.Close()
	name := `walvfs_uploads_total{level="0"}`
	w.scrape(t).want(t, samples{name: 1})
	if other.scrape(t)[name] == 0 {
		t.Error("the other collector has stopped, too")
	}
}
