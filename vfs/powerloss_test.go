package vfs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/util/vfsutil"
	sqlitevfs "github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/statefile"
	"github.com/walvfs/walvfs/shipper/statefile/diskhook"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs"
)

// powerVFS is a VFS whose disks can lose power: it knows which bytes of a file
// were synced, and which names.
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

// A powerDisk holds one database's files and takes images of what a power loss
// would leave of them. It sees the files and the replica one operation at
// a time.
type powerDisk struct {
	path  string
	store *powerStore

	mu     sync.Mutex
	names  map[string][]*powerFile // by suffix: what the name meant since the last sync of the directory
	rng    *rand.Rand
	oneIn  int // writes that an image is taken after
	images []powerImage
}

// A powerFile is a file whatever its name is, nil for none.
type powerFile struct {
	durable []byte
	pending []powerOp
}

// A powerOp is a write, or a truncation if data is nil.
type powerOp struct {
	off  int64
	data []byte
}

// A powerImage is what there was when the power failed.
type powerImage struct {
	what    string
	names   map[string][]*powerFile
	objects int // in the replica
}

// track begins a disk on which everything there is is durable.
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

// now returns the file that has a name, nil if there is none.
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

// image notes what a power loss would find now. d.mu must be held.
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

// A powerState is the state file, which is not written through SQLite's VFS.
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

// A fastFile does not sync: what is lost with the power is up to the test.
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

// all returns the content with everything that is pending.
func (f *powerFile) all() []byte {
	b := bytes.Clone(f.durable)
	for _, op := range f.pending {
		b = op.do(b)
	}
	return b
}

// What becomes of that which was not synced.
type powerLoss string

const (
	dropped powerLoss = "dropped" // nothing of it is left
	kept    powerLoss = "kept"    // all of it is left
	zeroed  powerLoss = "zeroed"  // sizes are left, without content
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

// disk returns what a power loss leaves.
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

// powerStore is a replica whose uploads take effect between a disk's operations.
type powerStore struct {
	alias
	disk *powerDisk

	mu      sync.Mutex
	down    bool
	created []powerObject
}

type powerObject struct {
	key   string
	data  []byte
	attrs storage.Attrs
}

func (s *powerStore) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.created)
}

func (s *powerStore) setDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

func (s *powerStore) Create(ctx context.Context, key string, body storage.Body, attrs storage.Attrs) error {
	if err := attrs.AwaitReady(); err != nil {
		return err
	}
	if s.disk != nil {
		s.disk.mu.Lock()
		defer s.disk.mu.Unlock()
		s.disk.image("before upload")
		defer s.disk.image("after upload")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return &storage.Error{Op: "create", URL: s.URL, Key: key, Err: errInjected}
	}
	b, err := io.ReadAll(io.NewSectionReader(body, 0, body.Size()))
	if err != nil {
		return err
	}
	if err := s.alias.Create(ctx, key, bytes.NewReader(b), attrs); err != nil {
		return err
	}
	if strings.HasSuffix(key, ".ltx") {
		s.created = append(s.created, powerObject{key, b, attrs})
	}
	return nil
}

// at makes the replica what it was when it had so many objects.
func (s *powerStore) at(t *testing.T, objects int) {
	t.Helper()
	m := &storagetest.Memory{Name: strings.TrimPrefix(s.URL, "memory://")}
	for _, o := range s.created[:objects] {
		if err := m.Create(t.Context(), o.key, bytes.NewReader(o.data), o.attrs); err != nil {
			t.Fatal(err)
		}
	}
	s.alias.Store = m
}

// A powerRun is the history of a database on a disk that images were taken of.
type powerRun struct {
	path    string
	uri     string
	disk    *powerDisk
	store   *powerStore
	commits []digest // states, in order
}

// newPowerRun begins a history with a small database that the replica has.
func newPowerRun(t *testing.T, synchronous string) *powerRun {
	t.Helper()
	r := &powerRun{path: filepath.Join(powerDir(t), "app.db")}
	r.store = &powerStore{alias: newAlias(t, nil)}
	memories.Store(strings.TrimPrefix(r.store.URL, "memory://"), r.store)
	r.store.at(t, 0)
	r.uri = strings.Replace(uri(r.path, r.store, "close_timeout=0s", "_pragma=synchronous("+synchronous+")",
		"_pragma=wal_autocheckpoint(12)", "_pragma=cache_size(10)"), "vfs=replicated&", "vfs=replicated-power&", 1)

	conn := open(t, r.uri)
	exec(t, conn, "PRAGMA page_size=1024")
	for _, q := range []string{"CREATE TABLE t (n INTEGER PRIMARY KEY, x)", "CREATE TABLE pad (x)",
		"INSERT INTO pad SELECT randomblob(300) FROM generate_series(1, 60)"} {
		exec(t, conn, q)
		r.note(t)
	}
	settled(t, r.path)
	conn.Close()
	r.disk = power.track(t, r.path, 10)
	r.disk.store, r.store.disk = r.store, r.disk
	return r
}

// stop ends the history.
func (r *powerRun) stop(conn *sqlite3.Conn) {
	conn.Close()
	power.forget(r.path)
	r.store.disk = nil
}

// powerWorkload writes to a database, with uploads, outages, checkpoints, resets
// and a restart.
func powerWorkload(t *testing.T, synchronous string, seed uint64) *powerRun {
	r := newPowerRun(t, synchronous)
	r.disk.rng = rand.New(rand.NewPCG(seed, 0))
	rng := rand.New(rand.NewPCG(seed, 1))
	conn := open(t, r.uri)
	n := 0
	for step := range 45 {
		switch k := rng.IntN(16); {
		case step == 30:
			conn.Close()
			conn = open(t, r.uri)
		case k == 0:
			exec(t, conn, "PRAGMA wal_checkpoint("+[]string{"PASSIVE", "FULL", "RESTART", "TRUNCATE"}[rng.IntN(4)]+")")
		case k == 1:
			r.store.setDown(true)
		case k <= 5:
			r.store.setDown(false)
			settled(t, r.path)
		case k == 6:
			exec(t, conn, "BEGIN", "UPDATE pad SET x = randomblob(290)", "ROLLBACK")
		default:
			n++
			exec(t, conn, "BEGIN", fmt.Sprintf("INSERT INTO t VALUES (%d, randomblob(%d))", n, rng.IntN(1500)),
				fmt.Sprintf("UPDATE pad SET x = randomblob(300) WHERE rowid BETWEEN %d AND %[1]d + %d", 1+rng.IntN(60), rng.IntN(6)))
			if rng.IntN(4) == 0 {
				exec(t, conn, fmt.Sprintf("DELETE FROM t WHERE n = %d", n-1-rng.IntN(5)))
			}
			exec(t, conn, "COMMIT")
			r.note(t)
		}
	}
	r.store.setDown(false)
	r.stop(conn)

	replica := &replayed{}
	replica.Replay(t, r.store)
	replica.RequireCommits(t, r.commits, "the run itself")
	return r
}

func (r *powerRun) note(t *testing.T) { r.commits = append(r.commits, liveDigest(t, r.path)) }

// What became of a database after a power loss.
type powerOutcome string

const (
	converged  powerOutcome = "converged"
	lostHalt   powerOutcome = "halted: the disk lost commits"
	otherHalt  powerOutcome = "halted: another history"
	unreadable powerOutcome = "SQLite cannot read the database"
)

// try puts the files in place as the power loss left them, opens the database and
// returns what became of it.
func (r *powerRun) try(t *testing.T, i *powerImage, files disk, label string) (powerOutcome, uint64) {
	t.Helper()
	files.Write(t, r.path)
	r.store.at(t, i.objects)
	defer func(created []powerObject) { r.store.created = created }(r.store.created)
	replica := &replayed{}
	before := lastTXID(t, r.store)

	outcome, conn := r.reopen(t, r.uri, label)
	if outcome == lostHalt || outcome == otherHalt {
		if got := lastTXID(t, r.store); got != before {
			t.Errorf("%s: halted, but the replica went from %s to %s", label, before, got)
		}
		conn.Close()
		var again powerOutcome
		if again, conn = r.reopen(t, r.uri+"&diverged=overwrite", label); again != converged {
			t.Errorf("%s: %s, with diverged=overwrite: %s", label, outcome, again)
			outcome = unreadable
		}
	}
	if conn == nil {
		return unreadable, 0
	}
	defer conn.Close()
	if outcome == unreadable {
		return outcome, 0
	}
	replica.RequireTip(t, r.store, r.path, label)
	pages := pagesSinceTXID(t, r.store, before)
	if err := conn.Exec("INSERT INTO t(x) VALUES (randomblob(1200))"); err == nil {
		settled(t, r.path)
		replica.RequireTip(t, r.store, r.path, label+", one commit later")
	} else if !strings.Contains(r.uri, "(off)") {
		t.Errorf("%s: %v", label, err)
	}
	return outcome, pages
}

// reopen opens the database and waits for the replica.
func (r *powerRun) reopen(t *testing.T, uri, label string) (powerOutcome, *sqlite3.Conn) {
	t.Helper()
	conn, err := sqlite3.Open(uri)
	if err != nil {
		return unreadable, nil
	}
	if err := conn.Exec("SELECT count(*) FROM t"); err != nil {
		return unreadable, conn
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err = vfs.Flush(ctx, r.path)
	switch {
	case err == nil:
		return converged, conn
	case errors.Is(err, shipper.ErrDiverged) && strings.Contains(err.Error(), "the disk has lost commits"):
		return lostHalt, conn
	case errors.Is(err, shipper.ErrDiverged) && strings.Contains(err.Error(), "this copy of the database did not write"),
		errors.Is(err, shipper.ErrDiverged) && strings.Contains(err.Error(), "does not hold it any more"):
		return otherHalt, conn
	}
	t.Errorf("%s: %v", label, err)
	return unreadable, conn
}

// pagesSinceTXID is pagesSince for any store.
func pagesSinceTXID(t *testing.T, store storage.Store, txid format.TXID) (pages uint64) {
	t.Helper()
	for txid++; ; txid++ {
		file, _, err := store.Open(t.Context(), store.Layout().Key(format.LevelRaw, txid, txid), 0, -1)
		if err != nil {
			return pages
		}
		if _, _, err := format.Decode(file, func(format.LTXHeader, uint32, []byte) error { pages++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPowerLoss is invariants 1 and 2 after a power loss at any moment, with a
// disk that keeps what was synced: the replica converges. There is nothing that
// the replica has and the disk lost, since what is uploaded was synced before.
func TestPowerLoss(t *testing.T) {
	for _, synchronous := range []string{"normal", "full", "extra"} {
		t.Run(synchronous, func(t *testing.T) {
			testPowerLoss(t, synchronous, func(label string, outcome powerOutcome) {
				if outcome != converged {
					t.Errorf("%s: %s", label, outcome)
				}
			})
		})
	}
}

// TestPowerLossUnsynced is the same with an application that does not sync. A
// power loss may leave any database then, and pages of before a cut that the
// replica has. The replica equals it, or replication halts.
func TestPowerLossUnsynced(t *testing.T) {
	testPowerLoss(t, "off", func(string, powerOutcome) {})
}

func testPowerLoss(t *testing.T, synchronous string, check func(label string, outcome powerOutcome)) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := powerWorkload(t, synchronous, seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	outcomes, whole, trials := map[powerOutcome]int{}, map[powerLoss]int{}, map[powerLoss]int{}
	for k := range r.disk.images {
		i := &r.disk.images[k]
		for _, loss := range []powerLoss{dropped, kept, zeroed, partly} {
			if rng.IntN(len(r.disk.images)) > 45 {
				continue
			}
			label := fmt.Sprintf("image %d, %s, unsynced content %s", k, i.what, loss)
			outcome, pages := r.try(t, i, i.disk(loss, rng), label)
			check(label, outcome)
			outcomes[outcome]++
			trials[loss]++
			if pages > 20 {
				whole[loss]++
			}
			if t.Failed() {
				return
			}
		}
	}
	t.Logf("%d images, losses of power: %v, %v; uploaded the whole database again: %v", len(r.disk.images), trials, outcomes, whole)
}

// TestUnsyncedCheckpoint: with synchronous=off, a checkpoint's pages may be lost
// with the power after the WAL that held them has started over. The database is
// another one then than the replica's, without anything in the WAL that tells.
func TestUnsyncedCheckpoint(t *testing.T) {
	r := newPowerRun(t, "off")
	conn := open(t, r.uri)
	exec(t, conn, "PRAGMA wal_autocheckpoint=0", "INSERT INTO pad SELECT 'shipped' FROM generate_series(1, 500)")
	settled(t, r.path)
	for before, n := walHeader(t, r.path), 0; bytes.Equal(walHeader(t, r.path), before); n++ {
		checkpoint(t, conn, sqlite3.CHECKPOINT_FULL)
		exec(t, conn, fmt.Sprintf("INSERT INTO t VALUES (%d, 'a new WAL')", n))
	}
	settled(t, r.path)
	r.disk.mu.Lock()
	r.disk.image("at last")
	i := r.disk.images[len(r.disk.images)-1]
	r.disk.mu.Unlock()
	r.stop(conn)
	outcome, _ := r.try(t, &i, i.disk(dropped, nil), "unsynced content dropped")
	t.Log(outcome)
}
