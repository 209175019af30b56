package main

import (
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// storm makes the store fail now and then, until calm is called.
func (c *campaign) storm(t *testing.T) (calm func()) {
	if c.chance(15) {
		return func() {}
	}
	rng := rand.New(rand.NewPCG(c.rng.Uint64(), 0))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	sleep := func(most int) bool {
		select {
		case <-time.After(time.Duration(rng.IntN(most)) * time.Millisecond):
			return true
		case <-stop:
			return false
		}
	}
	wg.Go(func() {
		for sleep(700) {
			err := fault(c.proxy, rng)
			if err == nil {
				sleep(1000)
				err = c.proxy.Up()
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	calm = sync.OnceFunc(func() {
		close(stop)
		wg.Wait()
	})
	t.Cleanup(calm)
	return calm
}

// fault makes the store fail in a random way.
func fault(p *storagetest.Toxiproxy, rng *rand.Rand) error {
	ms := func(n int) time.Duration { return time.Duration(rng.IntN(n)) * time.Millisecond }
	direction := []storagetest.Direction{storagetest.Requests, storagetest.Answers}[rng.IntN(2)]
	share := []float64{0.3, 0.7, 1}[rng.IntN(3)]
	switch rng.IntN(8) {
	case 0:
		return p.Down()
	case 1, 2:
		return p.Add(direction, share, storagetest.Hang(ms(800)))
	case 3:
		return p.Add(direction, share, storagetest.ResetPeer(ms(30)))
	case 4, 5:
		return p.Add(direction, share, storagetest.LimitData(int64(rng.IntN(8000))))
	case 6:
		return p.Add(direction, share, storagetest.Latency(ms(300), ms(100)))
	default:
		return p.Add(direction, share, storagetest.Bandwidth(int64(5+rng.IntN(200))))
	}
}

// loseMachine restores the database on another machine, where the application continues.
// The first machine may still be alive. One of the two owns the replica afterwards.
func (c *campaign) loseMachine(t *testing.T) {
	t.Helper()
	old, fresh := c.owner, newMachine(t)
	env, calm := c.proxy.Env, func() {}
	apart := c.chance(60)
	if !apart {
		calm = c.storm(t)
	}
	var processes []*process
	if c.chance(70) {
		c.note("the lost machine is alive")
		o := c.order(old, work)
		o.Life += 2 * time.Second
		o.Stay = c.chance(60)
		processes = append(processes, c.start(t, old, o, c.seldom()))
		time.Sleep(c.between(0, 600*time.Millisecond))
	}
	if apart {
		c.note("and the store far from it")
		env = c.bucket.replica.Env
		c.separate(t)
	}
	o := c.order(fresh, work)
	if c.chance(30) {
		o.URI += "&restore=if-missing"
		o.MayFail = true
	} else {
		c.bucket.newestRestorable(t, fresh.path)
	}
	time.Sleep(c.between(0, 300*time.Millisecond))
	processes = append(processes, startChild(t, o, env, c.seldom()))
	if apart {
		time.Sleep(c.between(0, time.Second))
		if err := c.proxy.Up(); err != nil {
			t.Fatal(err)
		}
	}
	for i, p := range processes {
		m := old
		if i == len(processes)-1 {
			m = fresh
		}
		c.finish(t, m, p)
		if p.halted != "" {
			c.note("one halts: %s", firstClause(p.halted))
		}
	}
	calm()
	if fresh.size("") == 0 {
		c.note("it was killed before it was restored")
		return
	}
	c.decide(t, old, fresh)
}

// separate makes the store unreachable through the proxy, or so slow that uploads arrive
// late.
func (c *campaign) separate(t *testing.T) {
	t.Helper()
	var err error
	if c.chance(50) {
		err = c.proxy.Down()
	} else {
		err = c.proxy.Add(storagetest.Requests, 1, storagetest.Latency(c.between(0, time.Second), 100*time.Millisecond))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// seldom returns a killing, or more often none.
func (c *campaign) seldom() killing {
	if c.chance(60) {
		return killing{}
	}
	return c.killing()
}

func firstClause(text string) string {
	text, _, _ = strings.Cut(text, ":")
	return text
}

// decide finds out which of two machines owns the replica: exactly one.
func (c *campaign) decide(t *testing.T, old, fresh *machine) {
	t.Helper()
	first, second := old, fresh
	if c.chance(50) {
		first, second = second, first
	}
	won, whyFirst := c.trySettle(t, first, "", false)
	alsoWon, whySecond := c.trySettle(t, second, "", false)
	switch {
	case won && alsoWon:
		t.Error("two machines have the replica")
	case !won && !alsoWon:
		t.Errorf("no machine has the replica:\n%s\n%s", whyFirst, whySecond)
	case won:
		c.owner, c.rival = first, second
	default:
		c.owner, c.rival = second, first
	}
	c.note("of the two, machine %s has the replica", map[bool]string{true: "old", false: "new"}[c.owner == old])
	c.check(t)
}

// trySettle brings the replica up to date, if this machine owns it.
func (c *campaign) trySettle(t *testing.T, m *machine, params string, quiet bool) (ok bool, halted string) {
	t.Helper()
	o := c.order(m, settle)
	o.URI += params
	o.Quiet = quiet
	if m.tampered {
		o.URI += "&diverged=overwrite"
	}
	p := c.start(t, m, o, killing{})
	c.finish(t, m, p)
	if p.halted == "" {
		m.tampered = false
	}
	return p.said["settled"] > 0, p.halted
}
