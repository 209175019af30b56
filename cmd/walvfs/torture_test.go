package main

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

var (
	tortureRounds = flag.Int("torture.rounds", 3, "rounds of TestTorture")
	tortureSeed   = flag.Uint64("torture.seed", 0, "what TestTorture decides by; 0 for another one each time")
	tortureOthers = flag.Int("torture.others", 20, "percent of TestTorture's runs with other programs")
	tortureKeep   = flag.String("torture.keep", "", "a directory for the files of a TestTorture that failed")
)

// roundsPerBucket is how many rounds share a database.
const roundsPerBucket = 10

// TestTorture runs processes that write to a database and kills them, damages the files
// they leave, moves the database to other machines, and disturbs the connections to the
// replica on an S3 server all the while. Some processes make snapshots and other files of
// higher levels all the time, of a database so large that its pages are pre-copied, and
// the uploads may take long: kills, checkpoints, resets and vacuums happen meanwhile.
// After each round it checks:
//
//	Prefix      every TXID is the database at one commit, a later TXID at a later commit
//	Converge    without faults, the replica has the database, byte by byte
//	Durable     confirmed commits are in the replica when a process is killed, and for
//	            good: commits with durability=sync, and commits that were waited for
//	One log     no gap, and no file that changes
//	Harmless    no statement fails or waits because of the replica
//	Bounded     the files in the directory of the database do not grow
//
// A flag sets how long it runs: go test ./cmd/walvfs -run TestTorture -torture.rounds 500 -timeout 0
func TestTorture(t *testing.T) {
	runChild()
	seed := cmp.Or(*tortureSeed, rand.Uint64())
	t.Logf("seed %d", seed)
	defer func() {
		if t.Failed() {
			t.Logf("again: go test ./cmd/walvfs -run '^TestTorture$' -v -timeout 0 -torture.rounds %d -torture.seed %d", *tortureRounds, seed)
		}
	}()
	rng := rand.New(rand.NewPCG(seed, 0))
	for round := 0; round < *tortureRounds && !t.Failed(); round += roundsPerBucket {
		t.Run(fmt.Sprintf("%d", round), func(t *testing.T) {
			c := newCampaign(t, rand.New(rand.NewPCG(rng.Uint64(), 0)))
			for i := round; i < min(round+roundsPerBucket, *tortureRounds) && !t.Failed(); i++ {
				c.round(t, i)
			}
			if !t.Failed() {
				c.settle(t)
			}
			c.keep(t)
		})
	}
}

// A campaign is one replica and its environment.
type campaign struct {
	rng    *rand.Rand
	proxy  *storagetest.Toxiproxy
	bucket *bucket
	owner  *machine // the machine whose commits reach the replica
	rival  *machine // a machine that was thought to be lost, or nil

	slow    atomic.Int64 // delay of an upload of a file of a higher level, in nanoseconds
	delayed atomic.Int64 // number of such uploads

	pageSize, autoVacuum int
	log                  []string // events of this round
}

func newCampaign(t *testing.T, rng *rand.Rand) *campaign {
	replica := storagetest.S3(t)
	c := &campaign{
		rng:        rng,
		bucket:     newBucket(t, replica, rng),
		owner:      newMachine(t),
		pageSize:   512 << rng.IntN(8),
		autoVacuum: rng.IntN(3),
	}
	c.proxy = replica.Proxy(t, c.delayLevels).Toxiproxy(t)
	return c
}

// delayLevels delays uploads of snapshots and other files of higher levels. The upload of
// a process that is killed meanwhile does not arrive.
func (c *campaign) delayLevels(w http.ResponseWriter, req *http.Request, next http.Handler) {
	_, key, _ := strings.Cut(req.URL.Path, "/app/")
	f, ok := c.bucket.store.Layout().Parse(key)
	if ok && f.Level > format.LevelRaw && (req.Method == http.MethodPut || req.Method == http.MethodPost) {
		c.delayed.Add(1)
		select {
		case <-time.After(time.Duration(c.slow.Load())):
		case <-req.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	next.ServeHTTP(w, req)
}

func (c *campaign) note(format string, args ...any) {
	c.log = append(c.log, fmt.Sprintf(format, args...))
}

func (c *campaign) chance(percent int) bool { return c.rng.IntN(100) < percent }

func (c *campaign) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(c.rng.Int64N(int64(hi-lo)))
}

// round runs the application several times, and then the checks.
func (c *campaign) round(t *testing.T, number int) {
	t.Helper()
	c.log = nil
	before := time.Now()
	c.slow.Store(0)
	if c.chance(50) {
		c.slow.Store(int64(c.between(100*time.Millisecond, 2*time.Second)))
		c.note("files of levels take %s", time.Duration(c.slow.Load()).Round(time.Millisecond))
	}
	for range 1 + c.rng.IntN(3) {
		if c.chance(25) && !c.owner.tampered && c.bucket.tip > 0 {
			c.loseMachine(t)
		} else {
			c.run(t)
		}
	}
	c.check(t)
	if c.chance(50) && !t.Failed() {
		c.settle(t)
	}
	t.Logf("round %d, %s, up to commit %d and TXID %s, %d uploads of levels: %s", number, time.Since(before).Round(time.Millisecond),
		len(c.bucket.journal), c.bucket.tip, c.delayed.Swap(0), strings.Join(c.log, "; "))
}

// run runs the application once, with concurrent events.
func (c *campaign) run(t *testing.T) {
	t.Helper()
	m := c.owner
	opened := len(m.commits) > 0 // and the tables exist
	if opened && c.chance(15) {
		c.note("others write before")
		c.finish(t, m, c.start(t, m, c.order(m, plain), c.seldom()))
	}
	if c.chance(15) {
		if what := m.tamper(t, c.rng); what != "" {
			c.note("the state file is %s", what)
		}
	}
	if c.chance(15) && m.losePower(t, c.rng) {
		c.note("the power fails")
	}
	if c.chance(30) {
		m.age()
	}
	before, _ := os.ReadFile(m.path + statefile.Suffix)
	calm := c.storm(t)
	o := c.order(m, work)
	if m.tampered && c.chance(70) {
		o.URI += "&diverged=overwrite"
	}
	kill := c.killing()
	p := c.start(t, m, o, kill)
	others := c.startOthers(t, m, opened)
	if c.rival != nil && c.chance(50) {
		c.note("the lost machine is there again")
		z := c.start(t, c.rival, c.order(c.rival, work), c.killing())
		defer c.finish(t, c.rival, z)
	}
	c.finish(t, m, p)
	others()
	calm()
	c.note("%d commits, %d drained, %s", len(p.commits), len(p.drained), kill)
	if p.halted != "" {
		c.note("halted")
		if !m.tampered {
			t.Errorf("replication halted: %s\nthe state file was\n%s\n%s", p.halted, before, &p.log)
		}
	}
}

// startOthers may start other programs that write to the database, and returns a function
// that waits for them.
func (c *campaign) startOthers(t *testing.T, m *machine, opened bool) (wait func()) {
	t.Helper()
	wait = func() {}
	if opened && c.chance(*tortureOthers) {
		c.note("others write")
		other := c.start(t, m, c.order(m, plain), c.killing())
		wait = func() { c.finish(t, m, other) }
	}
	if opened && c.chance(*tortureOthers) {
		if s := c.startShell(t, m); s != nil {
			c.note("a shell is used")
			first := wait
			wait = func() { first(); s.finish(t) }
		}
	}
	return wait
}

// order chooses how an application uses its database.
func (c *campaign) order(m *machine, what task) order {
	pick := func(choices ...string) string { return choices[c.rng.IntN(len(choices))] }
	o := order{
		Task:       what,
		Path:       m.path,
		URI:        "file:" + m.path + "?_pragma=busy_timeout(30000)",
		Seed:       c.rng.Uint64(),
		Conns:      1 + c.rng.IntN(4),
		Life:       c.between(300*time.Millisecond, 2500*time.Millisecond),
		Slow:       slowStatement,
		PageSize:   c.pageSize,
		AutoVacuum: c.autoVacuum,
	}
	o.CloseTimeout = c.between(0, time.Second)
	switch what {
	case plain:
		o.Life /= 2
		return o
	case settle:
		o.CloseTimeout = 10 * time.Second
	}
	if o.Sync = what == work && c.chance(50); o.Sync {
		o.URI += "&durability=sync&sync_timeout=" + pick("50ms", "500ms", "5s")
	}
	name := "replicated"
	if o.Levels = what == work && c.chance(60); o.Levels {
		name = levelsVFS
	}
	o.URI += "&vfs=" + name + "&replica=" + url.QueryEscape(c.bucket.replica.URL) +
		"&interval=" + pick("0s", "0s", "5ms", "100ms", "1s") +
		"&close_timeout=" + pick(o.CloseTimeout.String(), "0s") + pick("", "", "", "&psow=0")
	return o
}

// killing chooses when a process is killed.
func (c *campaign) killing() killing {
	times := func(n int) int { return 1 + c.rng.IntN(n) }
	switch n := c.rng.IntN(100); {
	case n < 20:
		return killing{"started", 1, c.between(0, 500*time.Millisecond)}
	case n < 40:
		return killing{"open", times(2), c.between(0, 80*time.Millisecond)}
	case n < 55:
		return killing{"closing", times(2), c.between(0, 60*time.Millisecond)}
	case n < 65:
		return killing{"checkpoint", times(15), c.between(0, 4*time.Millisecond)}
	case n < 70:
		return killing{"vacuum", times(2), c.between(0, 20*time.Millisecond)}
	case n < 80:
		return killing{"commit", times(150), c.between(0, 10*time.Millisecond)}
	case n < 90:
		return killing{"drained", times(40), c.between(0, 10*time.Millisecond)}
	}
	return killing{}
}

func (c *campaign) start(t *testing.T, m *machine, o order, k killing) *process {
	t.Helper()
	return startChild(t, o, c.proxy.Env, k)
}

// finish waits for a process and records its results.
func (c *campaign) finish(t *testing.T, m *machine, p *process) {
	t.Helper()
	p.wait()
	m.commits = append(m.commits, p.commits...)
	for _, d := range p.drained {
		c.bucket.drained[d] = true
	}
	for _, bad := range p.bad {
		t.Errorf("the application says: %s", bad)
	}
	if len(p.bad) > 0 {
		t.Logf("of %s, its log:\n%s", p.uri, &p.log)
	}
	if p.killed {
		c.bucket.checkDurable(t, p.drained)
	}
}

// settle is invariant 2: the replica gets everything, byte by byte.
func (c *campaign) settle(t *testing.T) {
	t.Helper()
	before, _ := os.ReadFile(c.owner.path + statefile.Suffix)
	restore := "never"
	if c.chance(30) {
		restore = "if-behind" // the database is never behind
	}
	ok, halted := c.trySettle(t, c.owner, "&restore="+restore, c.chance(40))
	if !ok {
		t.Errorf("the replica does not get everything: %s\nthe state file was\n%s", halted, before)
		return
	}
	c.check(t)
	if c.owner.size("-wal") > 0 {
		t.Error("the WAL is not gone after the last close")
	}
	live := c.owner.check(t)
	if len(live) != len(c.bucket.journal) {
		t.Errorf("the database is at commit %d, the replica at %d", len(live), len(c.bucket.journal))
	}
	if digestOf(t, c.owner.path) != digestOf(t, c.bucket.mirror) {
		t.Error("the replica differs from the database")
	}
	c.bucket.checkRestore(t)
	c.note("settled")
}

// check checks the replica and the owner's database, which is never behind.
func (c *campaign) check(t *testing.T) {
	t.Helper()
	c.bucket.check(t)
	if live := c.owner.check(t); !hasPrefix(live, c.bucket.journal) {
		t.Errorf("the database, at commit %d, does not go on from the replica, at %d", len(live), len(c.bucket.journal))
	}
}

// keep saves the files of a failed test.
func (c *campaign) keep(t *testing.T) {
	if !t.Failed() || *tortureKeep == "" {
		return
	}
	dir, err := os.MkdirTemp(*tortureKeep, "torture-")
	if err != nil {
		t.Log(err)
		return
	}
	for name, path := range map[string]string{"mirror": c.bucket.mirror, "owner": c.owner.path} {
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Dir(path))); err != nil {
			t.Log(err)
		}
	}
	t.Logf("the files are in %s", dir)
}
