package driver

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// fake is a client. Its key is a name.
type fake struct {
	key    string
	closed atomic.Bool
}

// bench is a pool of fakes that counts them.
type bench struct {
	*Pool[string, *fake]
	built, closed atomic.Int32
	slow          chan struct{} // builds of the key "slow" wait for it
	fail          atomic.Bool
}

var errBuild = errors.New("no credentials")

func newBench(t *testing.T) *bench {
	b := &bench{slow: make(chan struct{})}
	b.Pool = NewPool(func(key string) (*fake, error) {
		b.built.Add(1)
		if key == "slow" {
			<-b.slow
		}
		if b.fail.Load() {
			return nil, errBuild
		}
		return &fake{key: key}, nil
	}, func(f *fake) {
		b.closed.Add(1)
		if f.closed.Swap(true) {
			t.Error("closed twice")
		}
	})
	return b
}

func (b *bench) want(t *testing.T, built, closed int32) {
	t.Helper()
	synctest.Wait()
	if b.built.Load() != built || b.closed.Load() != closed {
		t.Errorf("%d built, %d closed, want %d, %d", b.built.Load(), b.closed.Load(), built, closed)
	}
}

func client(t *testing.T, l *Lease[string, *fake]) *fake {
	t.Helper()
	f, err := l.Client(t.Context())
	if err != nil {
		t.Error(err)
		return &fake{}
	}
	return f
}

// TestPool: each key has one client, from the first need until the last End.
func TestPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		one, two, other := b.Lease("a"), b.Lease("a"), b.Lease("b")
		b.want(t, 0, 0)
		f := client(t, one)
		if client(t, two) != f || client(t, one) != f || client(t, other).key != "b" {
			t.Error("not the client of the key")
		}
		b.want(t, 2, 0)

		one.End()
		one.End() // like a store that is closed twice
		b.want(t, 2, 0)
		if _, err := one.Client(t.Context()); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("after End: %v", err)
		}
		if client(t, two) != f {
			t.Error("the other lost its client")
		}
		two.End()
		b.want(t, 2, 1)
		if !f.closed.Load() {
			t.Error("not the client that nobody uses")
		}

		again := b.Lease("a")
		if client(t, again) == f {
			t.Error("a closed client is given out")
		}
		b.want(t, 3, 1)
		again.End()
		other.End()
		b.Lease("unused").End()
		b.want(t, 3, 3)
		if len(b.clients) > 0 {
			t.Errorf("not forgotten: %v", b.clients)
		}
	})
}

// TestPoolFails: only callers that wait for a build get its error.
func TestPoolFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.fail.Store(true)
		l := b.Lease("slow")
		for range 3 {
			go func() {
				if _, err := l.Client(t.Context()); err != errBuild {
					t.Errorf("got %v", err)
				}
			}()
		}
		b.want(t, 1, 0)
		close(b.slow)
		b.want(t, 1, 0)
		if _, err := l.Client(t.Context()); err != errBuild {
			t.Errorf("got %v", err)
		}
		b.want(t, 2, 0)
		b.fail.Store(false)
		client(t, l)
		b.want(t, 3, 0)
		l.End()
		b.want(t, 3, 1)
	})
}

// TestPoolSlow: callers that need a running build wait for it, as long as they like, and
// no others do.
func TestPoolSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		patient, hasty := b.Lease("slow"), b.Lease("slow")
		go client(t, patient)
		ctx, cancel := context.WithCancel(t.Context())
		var got error
		go func() { _, got = hasty.Client(ctx) }()
		synctest.Wait()

		other := b.Lease("other")
		client(t, other)
		other.End()
		cancel()
		b.want(t, 2, 1)
		if !errors.Is(got, context.Canceled) {
			t.Errorf("got %v", got)
		}
		hasty.End()
		close(b.slow)
		b.want(t, 2, 1)
		patient.End()
		b.want(t, 2, 2)
	})
}

// TestPoolAbandoned: a client that is finished when no store needs it any more is closed,
// unless another store came meanwhile.
func TestPoolAbandoned(t *testing.T) {
	for name, returns := range map[string]bool{"Gone": false, "Back": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				l := b.Lease("slow")
				l.Client(ctx)
				l.End()
				b.want(t, 1, 0)
				if returns {
					l = b.Lease("slow")
				}
				close(b.slow)
				if returns {
					client(t, l)
					b.want(t, 1, 0)
					l.End()
				}
				b.want(t, 1, 1)
			})
		})
	}
}

// TestPoolRace: in any order of leases and ends, no store gets a closed client, and no
// client remains.
func TestPoolRace(t *testing.T) {
	b := newBench(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 2000 {
				key := [...]string{"a", "b", "c"}[rand.N(3)]
				l := b.Lease(key)
				if rand.N(4) > 0 {
					if f := client(t, l); f.key != key || f.closed.Load() {
						t.Errorf("%s, closed %v: want %s", f.key, f.closed.Load(), key)
					}
				}
				l.End()
			}
		})
	}
	wg.Wait()
	if len(b.clients) > 0 || b.built.Load() != b.closed.Load() {
		t.Errorf("%d left, %d built, %d closed", len(b.clients), b.built.Load(), b.closed.Load())
	}
}
