//go:build unix

package follow_test

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore/follow"
)

// A powerDisk is a directory that a follower writes to. It tracks which of it is durable:
// content after the sync of a file, names after the sync of the directory.
type powerDisk struct {
	dir string

	mu sync.Mutex
	powerImage
	images []powerImage
}

// A powerImage is the state of the disk when the power fails.
type powerImage struct {
	what    string
	least   format.TXID            // the reported TXID
	names   map[string]uint64      // durable: the inode of each name
	pending []map[string]uint64    // later names, in order
	files   map[uint64]*powerInode // by inode
}

// A powerInode is a file, under any name.
type powerInode struct {
	durable []byte
	pending []powerWrite
}

// A powerWrite is a write, or a truncation if data is nil.
type powerWrite struct {
	offset int64
	data   []byte
}

// newPowerDisk treats everything in the directory as durable.
func newPowerDisk(t *testing.T, dir string) *powerDisk {
	d := &powerDisk{dir: dir}
	d.files = map[uint64]*powerInode{}
	d.names = d.look()
	for name, inode := range d.names {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		d.files[inode] = &powerInode{durable: b}
	}
	return d
}

// follow returns options that make a follower write here.
func (d *powerDisk) follow() (opts follow.Options) {
	opts.SetFile(d.wrap)
	opts.SetStep(func(do func() error) error {
		err := do()
		d.image("after a step")
		return err
	})
	return opts
}

func (d *powerDisk) look() map[string]uint64 {
	names := map[string]uint64{}
	entries, _ := os.ReadDir(d.dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			names[e.Name()] = info.Sys().(*syscall.Stat_t).Ino
		}
	}
	return names
}

// image records what a power loss would find now.
func (d *powerDisk) image(what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note(what)
}

func (d *powerDisk) note(what string) {
	d.lookAtNames()
	i := d.powerImage
	i.what, i.names, i.pending, i.files = what, maps.Clone(i.names), slices.Clone(i.pending), map[uint64]*powerInode{}
	for inode, f := range d.files {
		i.files[inode] = &powerInode{f.durable, slices.Clip(f.pending)}
	}
	d.images = append(d.images, i)
}

// lookAtNames records changes of names. A rename is one change.
func (d *powerDisk) lookAtNames() {
	before := d.names
	if n := len(d.pending); n > 0 {
		before = d.pending[n-1]
	}
	if now := d.look(); !maps.Equal(now, before) {
		d.pending = append(d.pending, now)
		for _, inode := range now {
			if d.files[inode] == nil {
				d.files[inode] = &powerInode{}
			}
		}
	}
}

func (d *powerDisk) reached(txid format.TXID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.least = txid
}

func (d *powerDisk) wrap(name string, f follow.DiskFile) follow.DiskFile {
	if name == d.dir {
		return &powerHandle{DiskFile: f, disk: d}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lookAtNames()
	return &powerHandle{f, d, d.look()[filepath.Base(name)], strings.TrimPrefix(name, d.dir)}
}

// A powerHandle is an open file, or the directory if its inode is 0.
type powerHandle struct {
	follow.DiskFile
	disk  *powerDisk
	inode uint64
	name  string
}

func (h *powerHandle) WriteAt(b []byte, offset int64) (int, error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	f := h.disk.files[h.inode]
	f.pending = append(f.pending, powerWrite{offset, bytes.Clone(b)})
	h.disk.note("write " + h.name)
	return h.DiskFile.WriteAt(b, offset)
}

func (h *powerHandle) Truncate(size int64) error {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	f := h.disk.files[h.inode]
	f.pending = append(f.pending, powerWrite{offset: size})
	h.disk.note("truncate " + h.name)
	return h.DiskFile.Truncate(size)
}

// Sync takes no time: the test decides what is durable.
func (h *powerHandle) Sync() error {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	h.disk.note("before the sync of " + h.name)
	if h.inode == 0 {
		if n := len(h.disk.pending); n > 0 {
			h.disk.names, h.disk.pending = h.disk.pending[n-1], nil
		}
	} else {
		f := h.disk.files[h.inode]
		f.durable, f.pending = f.after(kept, nil), nil
	}
	h.disk.note("after the sync of " + h.name)
	return nil
}

// powerLoss is what happens to unsynced data.
type powerLoss string

const (
	dropped powerLoss = "dropped" // it is lost
	kept    powerLoss = "kept"    // it is complete
	zeroed  powerLoss = "zeroed"  // names and sizes remain, without content
	partly  powerLoss = "partly"  // any sectors, truncations and names
)

func (f *powerInode) after(loss powerLoss, rng *rand.Rand) []byte {
	b := bytes.Clone(f.durable)
	for _, w := range f.pending {
		end := w.offset + int64(len(w.data))
		switch {
		case loss == dropped:
		case loss == kept, loss == partly && rng.IntN(3) == 0:
			if w.data == nil {
				b = resized(b, w.offset)
			} else {
				b = resized(b, max(int64(len(b)), end))
				copy(b[w.offset:], w.data)
			}
		case loss == zeroed, rng.IntN(4) == 0:
			b = resized(b, max(int64(len(b)), end))
		case rng.IntN(2) == 0: // torn
			for at := w.offset; at < end; at += 512 {
				if rng.IntN(2) == 0 {
					upTo := min(end, at+512)
					b = resized(b, max(int64(len(b)), upTo))
					copy(b[at:upTo], w.data[at-w.offset:])
				}
			}
		}
	}
	return b
}

func resized(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		return b[:size]
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}

// after returns the files that remain after a power loss, by name.
func (i *powerImage) after(loss powerLoss, rng *rand.Rand) map[string][]byte {
	names, before := maps.Clone(i.names), i.names
	for _, now := range i.pending {
		if loss == kept || loss == zeroed || loss == partly && rng.IntN(2) == 0 {
			for name := range before {
				if _, ok := now[name]; !ok {
					delete(names, name)
				}
			}
			for name, inode := range now {
				if before[name] != inode {
					names[name] = inode
				}
			}
		}
		before = now
	}
	left := map[string][]byte{}
	for name, inode := range names {
		left[name] = i.files[inode].after(loss, rng)
	}
	return left
}
