package compare

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Run is one run of a workload by a peer on a store.
type Run struct {
	Peer  string `json:"peer"`
	Round int    `json:"round"`

	Transactions int64   `json:"transactions"`
	Reads        int64   `json:"reads"`
	Seconds      float64 `json:"seconds"`
	Latency      string  `json:"latency,omitempty"`    // of transactions in nanoseconds, an encoded HDR histogram
	Lag          string  `json:"lag,omitempty"`        // from commit to readable in the store, the same
	Missing      int     `json:"missing,omitempty"`    // transactions that no file in the store contained
	FileSize     int64   `json:"file_bytes,omitempty"` // of a level 0 file with transactions of a workload with stamps: the median

	App        Usage   `json:"app"` // after the warm-up, like the traffic
	Litestream Usage   `json:"litestream"`
	WAL        int64   `json:"wal_bytes"` // the maximum
	Start      Counts  `json:"start"`     // traffic until the replica had the filled database
	WarmUp     Counts  `json:"warm_up,omitempty"`
	Traffic    Counts  `json:"traffic"`   // after the warm-up, while the application worked
	Counted    float64 `json:"counted_s"` // how long the traffic was counted
	Stored     int64   `json:"stored"`    // bytes in the store at the end

	Wall  float64 `json:"wall_s,omitempty"`      // of speedtest1, as it reports
	Grown int64   `json:"grown_bytes,omitempty"` // growth of the database, in a workload that opens it again
	Busy  Busy    `json:"busy"`                  // other work of the machine meanwhile

	Close          float64 `json:"close_s"` // from the last transaction until everything is closed and in the store
	Restore        float64 `json:"restore_s,omitempty"`
	RestoreTraffic Counts  `json:"restore_traffic,omitempty"`

	latency, lag *hdrhistogram.Histogram // decoded
	puts         *hdrhistogram.Histogram // bare PUTs of the same round; nil without lag or PUTs
}

// warmUp is how long a workload of costs works before counting begins. The first file of
// each level holds the whole database again: walvfs makes that of level 2 five minutes
// after it began, Litestream when the clock is at a multiple of five minutes.
func warmUp(now time.Time) time.Duration {
	const level2, margin = 5 * time.Minute, 20 * time.Second
	return now.Add(level2 + margin).Truncate(level2).Add(level2 + margin).Sub(now)
}

// job is the input of a run.
type job struct {
	workload   workload
	peer       peer
	store      storeKind
	round      int
	duration   time.Duration
	warmUp     time.Duration
	litestream string // path of the program
	speedtest  string // path of the program
	profiles   profiles
}

// run runs a workload once, with a new database and a new replica.
func (j job) run(ctx context.Context) (r *Run, err error) {
	err = lend(ctx, func(l *lender) error {
		r = &Run{Peer: j.peer.Name, Round: j.round}
		s := &session{job: j, Run: r, dir: l.directory(""), place: j.store.place(l)}
		return s.run(l.Context())
	})
	if err != nil {
		return nil, fmt.Errorf("%s, %s on %s: %w", j.workload.Name, j.peer.Name, j.store.Name, err)
	}
	return r, nil
}

// session is the state of a run.
type session struct {
	job
	*Run
	dir     string
	place   *place
	outcome outcome
	size    int64     // of the first database when it is filled
	used    processor // before the counted part
}

// run goes through the phases of a run:
//
//	fill the databases ▶ start Litestream ▶ work, measured ▶ close ▶ restore, compare
func (s *session) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // after an error, ends the processes
	app, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer func() { cancel(); app.cmd.Wait() }() // before its directory is removed
	if err := app.answer(&outcome{}); err != nil {
		return err
	}
	var side *litestream
	if s.peer.Litestream != nil {
		side, err = startLitestream(ctx, s.litestream, s.dir, s.place, len(s.spec().Replicas), *s.peer.Litestream)
		if err != nil {
			return err
		}
		defer func() { cancel(); side.cmd.Wait() }()
	}
	if err := s.measure(ctx, app, side); err != nil {
		return err
	}
	closing := time.Now()
	if err := app.close(); err != nil {
		return err
	}
	if side != nil {
		if err := side.stop(); err != nil {
			return err
		}
	}
	s.Close = time.Since(closing).Seconds()
	if s.workload.Reopen {
		s.Grown = sizeOf(databasePath(s.dir, 0)) - s.size
	}
	return s.afterwards(ctx)
}

// start starts the application, which fills its databases, unless its database was filled
// before.
func (s *session) start(ctx context.Context) (*app, error) {
	sp, env := s.spec(), s.place.used.Env
	if s.workload.SpeedTest > 0 {
		return startProgram(ctx, sp, env, s.speedtest, s.speedtestArguments()...)
	}
	if s.workload.Size > 0 {
		filled := sp
		filled.Fill = true
		if err := runInChild(ctx, filled, env); err != nil {
			return nil, err
		}
	}
	return startApp(ctx, sp, env)
}

func (s *session) spec() spec {
	sp := spec{
		Workload: s.workload, Peer: s.peer, Dir: s.dir, Duration: s.job.warmUp + s.duration + s.margin(),
		Profiles: s.profiles.named(fmt.Sprintf("%s.%s.%s.%d", s.workload.Name, s.store.Name, s.peer.Name, s.round)),
	}
	for i := range max(1, s.workload.Databases) {
		sp.Replicas = append(sp.Replicas, replicaURL(s.place.used, i))
	}
	return sp
}

// margin is how long an idle application continues after the measurement: waking up and
// answering would be most of its CPU time.
func (s *session) margin() time.Duration {
	if s.workload.idle() {
		return time.Second
	}
	return 0
}

// measure starts the application's work, and measures it from the outside.
func (s *session) measure(ctx context.Context, app *app, side *litestream) error {
	pids := []int{app.cmd.Process.Pid}
	if side != nil {
		pids = append(pids, side.cmd.Process.Pid)
	}
	s.Start, s.size = s.place.meter.Counts(), sizeOf(databasePath(s.dir, 0))
	w, err := startWatching(ctx, databasePath(s.dir, 0)+"-wal", pids...)
	if err != nil {
		return err
	}
	if s.used, err = lookAtProcessor(); err != nil {
		return err
	}
	if err := app.order("go"); err != nil {
		return err
	}
	if !sleep(ctx, s.job.warmUp) {
		return ctx.Err()
	}
	if err := s.window(ctx, app, w); err != nil {
		return err
	}
	s.Transactions, s.Reads, s.Seconds = s.outcome.Transactions, s.outcome.Reads, s.outcome.Seconds
	s.Latency = base64.StdEncoding.EncodeToString(s.outcome.Latency)
	if s.workload.SpeedTest > 0 {
		s.Wall = s.Seconds
	}
	return nil
}

// sizeOf returns the size of a file, 0 if it does not exist.
func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// window is the counted part after the warm-up.
func (s *session) window(ctx context.Context, app *app, w *watcher) (err error) {
	before := s.place.meter.Counts()
	s.Run.WarmUp = before.Minus(s.Start)
	if s.job.warmUp > 0 {
		if err := w.restart(); err != nil {
			return err
		}
		if s.used, err = lookAtProcessor(); err != nil {
			return err
		}
	}
	start := time.Now()
	if s.workload.idle() {
		if !sleep(ctx, s.duration) {
			return ctx.Err()
		}
	} else if err := app.answer(&s.outcome); err != nil {
		return err
	}
	s.Traffic, s.Counted = s.place.meter.Counts().Minus(before), time.Since(start).Seconds()
	used, wal, err := w.end()
	if err != nil {
		return err
	}
	now, err := lookAtProcessor()
	if err != nil {
		return err
	}
	s.Busy = now.since(s.used)
	s.App, s.WAL = used[0], wal
	if len(used) > 1 {
		s.Run.Litestream = used[1]
	}
	if s.workload.idle() {
		return app.answer(&s.outcome)
	}
	return nil
}

// afterwards measures the replica.
func (s *session) afterwards(ctx context.Context) error {
	if !s.peer.replicated() {
		return s.decode()
	}
	store, err := s.place.store(ctx, 0)
	if err != nil {
		return err
	}
	defer store.Close()
	if err := s.measureStored(ctx, store); err != nil {
		return err
	}
	if s.workload.Stamp {
		if err := s.measureLag(ctx, store); err != nil {
			return err
		}
	}
	if !s.workload.SkipRestore {
		if err := s.restore(ctx); err != nil {
			return err
		}
	}
	return s.decode()
}

// restore measures the peer's own restore, as a process, and checks that the result is
// the application's database: a fast but wrong replica is useless.
func (s *session) restore(ctx context.Context) error {
	target := filepath.Join(s.dir, "restored.db")
	before := s.place.meter.Counts()
	start := time.Now()
	var err error
	if s.peer.InProcess {
		sp := s.spec()
		sp.RestoreTo = target
		err = runInChild(ctx, sp, s.place.used.Env)
	} else {
		err = litestreamRestore(ctx, s.litestream, s.place, target)
	}
	if err != nil {
		return err
	}
	s.Restore = time.Since(start).Seconds()
	s.RestoreTraffic = s.place.meter.Counts().Minus(before)
	return compareDatabases(databasePath(s.dir, 0), target)
}

// decode makes the histograms ready for use.
func (r *Run) decode() error {
	var err error
	if r.latency, err = decodeHistogram(r.Latency); err == nil {
		r.lag, err = decodeHistogram(r.Lag)
	}
	return err
}

// decodeHistogram returns nil for an empty string.
func decodeHistogram(s string) (*hdrhistogram.Histogram, error) {
	if s == "" {
		return nil, nil
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, err
	}
	return hdrhistogram.Decode(b)
}

// sleep reports whether the whole time passed.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
