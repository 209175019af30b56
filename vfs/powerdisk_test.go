package vfs_test

import (
	"bytes"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ncruces/go-sqlite3/util/vfsutil"
	sqlitevfs "github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/internal/statefile/diskhook"
	"github.com/walvfs/walvfs/vfs"
)

// powerVFS is a VFS whose disks can lose power: it records which bytes of a file, and
// which names, were synced.
//
//	write, truncate  pending, in order, until the file is synced
//	delete, create   pending until the directory is synced, which the first sync
//	                 of a new WAL does
type powerVFS struct {
	sqlitevfs.VFS

	mu    sync.Mutex
	disks map[string]*powerDisk // by the path of the main database
}

var power = &powerVFS{VFS: sqlitevfs.Find(""), disks: map[string]*powerDisk{}}

func init() {
	sqlitevfs.Register("power", power)
	vfs.Register("replicated-power", vfs.Options{Base: "power", Logger: slog.New(slog.DiscardHandler)})
}

// A powerDisk holds one database's files and takes images of them for a power loss. It
// sees the files and the replica one operation at a time.
type powerDisk struct {
	path  string
	store *powerStore

	mu     sync.Mutex
	names  map[string][]*powerFile // by suffix: the name's files since the last sync of the directory
	rng    *rand.Rand
	oneIn  int // it takes an image after one in so many writes
	images []powerImage
}

// A powerFile is a file under any name, nil for none.
type powerFile struct {
	durable []byte
	pending []powerOp
}

// A powerOp is a write, or a truncation if data is nil.
type powerOp struct {
	off  int64
	data []byte
}

// A powerImage is the state of a disk when the power fails.
type powerImage struct {
	what    string
	names   map[string][]*powerFile
	objects int // in the replica
}

// track begins a disk on which all existing files are durable.
func (v *powerVFS) track(t *testing.T, path string, oneIn int) *powerDisk {
	d := &powerDisk{path: path, names: map[string][]*powerFile{}, rng: rand.New(rand.NewPCG(0, 0)), oneIn: oneIn}
	for suffix, b := range save(t, path) {
		d.names[suffix] = []*powerFile{{durable: b}}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.disks[path] = d
	t.Cleanup(func() { v.forget(path) })
	return d
}

func (v *powerVFS) forget(path string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.disks, path)
}

func (v *powerVFS) disk(path string) *powerDisk {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.disks[path]
}

func (v *powerVFS) OpenFilename(name *sqlitevfs.Filename, flags sqlitevfs.OpenFlag) (sqlitevfs.File, sqlitevfs.OpenFlag, error) {
	const ours = sqlitevfs.OPEN_MAIN_DB | sqlitevfs.OPEN_WAL | sqlitevfs.OPEN_MAIN_JOURNAL
	if name == nil || flags&ours == 0 {
		return vfsutil.WrapOpenFilename(v.VFS, name, flags)
	}
	d := v.disk(name.Database())
	if d == nil {
		file, flags, err := vfsutil.WrapOpenFilename(v.VFS, name, flags)
		if err != nil {
			return file, flags, err
		}
		return &fastFile{file}, flags, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	file, flags, err := vfsutil.WrapOpenFilename(v.VFS, name, flags)
	if err != nil {
		return file, flags, err
	}
	suffix := strings.TrimPrefix(name.String(), d.path)
	f := d.now(suffix)
	if f == nil {
		f = &powerFile{}
		d.names[suffix] = append(d.names[suffix], f)
	}
	return &powerHandle{fastFile: fastFile{file}, disk: d, file: f, suffix: suffix, syncDir: flags&sqlitevfs.OPEN_MAIN_DB == 0}, flags, nil
}

func (v *powerVFS) Delete(name string, syncDir bool) error {
	for _, suffix := range []string{"-wal", "-journal"} {
		path, ok := strings.CutSuffix(name, suffix)
		if d := v.disk(path); ok && d != nil {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.names[suffix] = append(d.names[suffix], nil)
			if syncDir {
				d.syncDir()
			}
			d.image("delete " + suffix)
		}
	}
	return v.VFS.Delete(name, syncDir)
}

// now returns the file of a name, nil for none.
func (d *powerDisk) now(suffix string) *powerFile {
	if h := d.names[suffix]; len(h) > 0 {
		return h[len(h)-1]
	}
	return nil
}

func (d *powerDisk) syncDir() {
	for suffix, h := range d.names {
		d.names[suffix] = h[len(h)-1:]
	}
}

// image records the state that a power loss would find now. d.mu must be held.
func (d *powerDisk) image(what string) {
	i := powerImage{what: what, names: map[string][]*powerFile{}}
	for suffix, h := range d.names {
		for _, f := range h {
			if f != nil {
				f = &powerFile{f.durable, slices.Clip(f.pending)}
			}
			i.names[suffix] = append(i.names[suffix], f)
		}
	}
	if d.store != nil {
		i.objects = d.store.count()
	}
	d.images = append(d.images, i)
}

type powerHandle struct {
	fastFile
	disk    *powerDisk
	file    *powerFile
	suffix  string
	syncDir bool // with the next sync
}

func (f *powerHandle) WriteAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.file.pending = append(f.file.pending, powerOp{off, bytes.Clone(p)})
	n, err := f.File.WriteAt(p, off)
	if f.disk.rng.IntN(f.disk.oneIn) == 0 {
		f.disk.image("write " + f.suffix)
	}
	return n, err
}

func (f *powerHandle) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.file.pending = append(f.file.pending, powerOp{off: size})
	err := f.File.Truncate(size)
	f.disk.image("truncate " + f.suffix)
	return err
}

func (f *powerHandle) Sync(flags sqlitevfs.SyncFlag) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.disk.image("before sync " + f.suffix)
	f.file.durable, f.file.pending = f.file.all(), nil
	if f.syncDir {
		f.syncDir = false
		f.disk.syncDir()
	}
	f.disk.image("after sync " + f.suffix)
	return nil
}

// A powerState is the state file; walvfs writes it without SQLite's VFS.
type powerState struct {
	diskhook.Disk
	disk *powerDisk
	file *powerFile
}

func (f *powerState) WriteAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.file.pending = append(f.file.pending, powerOp{off, bytes.Clone(p)})
	n, err := f.Disk.WriteAt(p, off)
	f.disk.image("write " + statefile.Suffix)
	return n, err
}

func (f *powerState) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.file.durable, f.file.pending = f.file.all(), nil
	f.disk.image("after sync " + statefile.Suffix)
	return nil
}

// A fastFile does not sync: the test decides what a power loss destroys.
type fastFile struct{ sqlitevfs.File }

func (f *fastFile) Sync(sqlitevfs.SyncFlag) error { return nil }

func (f *fastFile) Unwrap() sqlitevfs.File               { return f.File }
func (f *fastFile) SharedMemory() sqlitevfs.SharedMemory { return vfsutil.WrapSharedMemory(f.File) }
func (f *fastFile) LockState() sqlitevfs.LockLevel       { return vfsutil.WrapLockState(f.File) }
func (f *fastFile) PersistWAL() bool                     { return vfsutil.WrapPersistWAL(f.File) }
func (f *fastFile) SetPersistWAL(keep bool)              { vfsutil.WrapSetPersistWAL(f.File, keep) }
func (f *fastFile) PowersafeOverwrite() bool             { return vfsutil.WrapPowersafeOverwrite(f.File) }
func (f *fastFile) SetPowersafeOverwrite(psow bool) {
	vfsutil.WrapSetPowersafeOverwrite(f.File, psow)
}
func (f *fastFile) HasMoved() (bool, error) { return vfsutil.WrapHasMoved(f.File) }

// do applies an operation to a file's content.
func (op powerOp) do(b []byte) []byte {
	end := op.off + int64(len(op.data))
	if op.data == nil {
		return resize(b, op.off)
	}
	b = resize(b, max(end, int64(len(b))))
	copy(b[op.off:], op.data)
	return b
}

// all returns the content with all pending operations.
func (f *powerFile) all() []byte {
	b := bytes.Clone(f.durable)
	for _, op := range f.pending {
		b = op.do(b)
	}
	return b
}

// A powerLoss says what happens to unsynced operations.
type powerLoss string

const (
	dropped powerLoss = "dropped" // all are lost
	kept    powerLoss = "kept"    // all are kept
	zeroed  powerLoss = "zeroed"  // sizes are kept, without content
	partly  powerLoss = "partly"  // any sectors, truncations and names
)

func (f *powerFile) after(loss powerLoss, rng *rand.Rand) []byte {
	switch loss {
	case dropped:
		return f.durable
	case kept:
		return f.all()
	}
	b := bytes.Clone(f.durable)
	for _, op := range f.pending {
		end := op.off + int64(len(op.data))
		switch {
		case loss == zeroed || rng.IntN(4) == 0:
			b = resize(b, max(int64(len(b)), end))
		case op.data == nil && rng.IntN(2) == 0, len(op.data) > 0 && rng.IntN(2) == 0:
			b = op.do(b)
		case op.data != nil && rng.IntN(2) == 0:
			b = op.torn(b, rng)
		}
	}
	return b
}

// torn writes some sectors of a write.
func (op powerOp) torn(b []byte, rng *rand.Rand) []byte {
	const sector = 512
	for at := op.off; at < op.off+int64(len(op.data)); {
		next := min((at/sector+1)*sector, op.off+int64(len(op.data)))
		if rng.IntN(2) == 0 {
			b = powerOp{at, op.data[at-op.off : next-op.off]}.do(b)
		}
		at = next
	}
	return b
}

// disk returns the files after a power loss.
func (i *powerImage) disk(loss powerLoss, rng *rand.Rand) disk {
	d := disk{}
	for suffix, h := range i.names {
		f := h[0]
		switch loss {
		case kept:
			f = h[len(h)-1]
		case partly:
			f = h[rng.IntN(len(h))]
		}
		if f != nil {
			d[suffix] = f.after(loss, rng)
		}
	}
	return d
}
