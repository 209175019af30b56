//go:build unix

package follow_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore/follow"
	"github.com/walvfs/walvfs/shipper/storage"
)

// powerDir returns a directory in memory, if possible: the test decides what is lost, and
// syncing takes time.
func powerDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "walvfs-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// A powerTrial is a replica, and the content of a copy at each of its TXIDs.
type powerTrial struct {
	t      *testing.T
	store  storage.Store
	images [][]byte // of TXID 1, 2, ...
	rng    *rand.Rand
	count  map[powerLoss]int
}

// Whenever the power fails, the copy is at one TXID afterwards, at least at the reported
// TXID: for SQLite, through which other programs read it, and for the next follower,
// which continues it. The same holds if the power fails once more meanwhile.
func TestFollowPowerLoss(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	l := newLive(t, 4096)
	store := l.store()
	p := &powerTrial{t: t, store: store, rng: rand.New(rand.NewPCG(seed, 0)), count: map[powerLoss]int{}}
	l.commit(schema, manyRows(20))
	disk := newPowerDisk(t, powerDir(t))
	path := filepath.Join(disk.dir, "copy.db")
	f := runFollow(t, store, path, disk.follow())
	disk.reached(f.At(2).TXID)
	for _, name := range []string{"growth", "page size 512", "shrink", "page size 65536"} {
		followSteps[name](l)
		disk.reached(f.At(tip(t, store)).TXID)
	}
	f.Stop()
	for txid := format.TXID(1); txid <= tip(t, store); txid++ {
		p.images = append(p.images, image(t, store, txid))
	}

	for k, i := range disk.images {
		for _, loss := range []powerLoss{dropped, kept, zeroed, partly, partly} {
			// Few moments have names that are not durable.
			if (loss != partly || len(i.pending) == 0) && p.rng.IntN(len(disk.images)) > 20 {
				continue
			}
			label := fmt.Sprintf("image %d of %d, %s, unsynced content %s", k, len(disk.images), i.what, loss)
			p.try(&i, loss, label, true)
			if t.Failed() {
				return
			}
		}
	}
	t.Logf("%d images, losses of power: %v", len(disk.images), p.count)
}

// try simulates a power loss, and checks what remains.
func (p *powerTrial) try(i *powerImage, loss powerLoss, label string, more bool) {
	p.t.Helper()
	p.count[loss]++
	left := i.after(loss, p.rng)
	bySQLite, byFollower := p.put(left), newPowerDisk(p.t, filepath.Dir(p.put(left)))
	least := i.least
	if exists(bySQLite) {
		at := p.requireWhole(bySQLite, label+", for SQLite")
		if at < least {
			p.t.Errorf("%s: the copy is at TXID %s, and was reported to be at %s", label, at, least)
		}
		p.requireGoesOn(bySQLite, follow.Options{}, label+", after SQLite")
	} else if least > 0 {
		p.t.Errorf("%s: there is no copy any more", label)
	}
	byFollower.least = least
	p.requireGoesOn(filepath.Join(byFollower.dir, "copy.db"), byFollower.follow(), label)
	if n := len(byFollower.images); more && n > 0 && p.rng.IntN(4) == 0 && !p.t.Failed() {
		k := p.rng.IntN(n)
		p.try(&byFollower.images[k], loss, fmt.Sprintf("%s; then image %d of %d, %s", label, k, n, byFollower.images[k].what), false)
	}
}

// put writes files to a directory, and returns the copy's path there.
func (p *powerTrial) put(files map[string][]byte) string {
	dir := powerDir(p.t)
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
	return filepath.Join(dir, "copy.db")
}

// requireWhole checks the copy and returns its TXID.
func (p *powerTrial) requireWhole(path, label string) format.TXID {
	p.t.Helper()
	if got := ask(p.t, path, "PRAGMA integrity_check"); got != "ok" {
		p.t.Errorf("%s: integrity_check: %s", label, got)
	}
	got := string(masked(p.t, path))
	for i, want := range p.images {
		if got == string(want) {
			return format.TXID(i + 1)
		}
	}
	p.t.Fatalf("%s: the copy is at no TXID", label)
	return 0
}

func (p *powerTrial) requireGoesOn(path string, opts follow.Options, label string) {
	p.t.Helper()
	was := exists(path)
	f := runFollow(p.t, p.store, path, opts)
	to := format.TXID(len(p.images))
	r := f.Until(label, func(follow.Status) bool { return true })
	if r.Resumed != was {
		p.t.Errorf("%s: there was a copy: %t; the follower began with %+v", label, was, r)
	}
	if r.TXID != to {
		f.At(to)
	}
	f.Stop()
	if at := p.requireWhole(path, label); at != to {
		p.t.Errorf("%s: the copy is at TXID %s", label, at)
	}
}
