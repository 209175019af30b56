package statefile

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/statefile/diskhook"
)

// Starting over removes appended states, but not durable ones.
func TestRewindKeepsIntents(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	save(t, New("file:///r", FileID{Inode: 1}), path)
	f := continued(t, path)
	sync, err := f.AppendWhole(State{PageSize: 512, Intents: []Mark{{TXID: 7, Checksum: 9}}})
	if err != nil || sync() != nil {
		t.Fatal(err)
	}
	state := State{PageSize: 512, Dirty: make([]byte, 100<<10)}
	for range 20 {
		before := f.slots.current.size
		if err := f.Append(state, nil); err != nil {
			t.Fatal(err)
		}
		if f.slots.current.size >= before {
			continue
		}
		if lines := readCurrent(t, path).lines; len(lines) != 2 || !bytes.Contains(lines[0], []byte(`"intents"`)) {
			t.Errorf("the durable line is gone from %d lines", len(lines))
		}
		return
	}
	t.Error("it has not started over")
}

// readCurrent returns the slot in force.
func readCurrent(t *testing.T, database string) *slot {
	t.Helper()
	image, err := os.ReadFile(database + Suffix)
	if err != nil {
		t.Fatal(err)
	}
	s, _ := readSlots(image, writtenFor(database))
	if s == nil {
		t.Fatal("no slot is whole")
	}
	return s
}

// Wherever a state file is damaged, damaged content is not used: no record if the only
// whole value is damaged, and no state if the appended lines are.
func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	save(t, sample, path)
	for i := range 3 {
		if err := continued(t, path).Append(State{Floor: uint32(i)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	image, err := os.ReadFile(path + Suffix)
	if err != nil {
		t.Fatal(err)
	}
	none := func([]byte) bool { return false }
	whole, _ := readSlots(image, none)
	lines := int(whole.offset + whole.length)
	check := func(what string, at int, b []byte) {
		s, _ := readSlots(b, none)
		switch {
		case at >= headerSize && at < firstSlot: // between the headers
			if s == nil || s.torn {
				t.Errorf("%s at %d", what, at)
			}
		case at < lines:
			if s != nil {
				t.Errorf("%s at %d: the value is believed", what, at)
			}
		default:
			r, err := decode(s)
			if err != nil || r.State != nil || r.NodeID != sample.NodeID {
				t.Errorf("%s at %d: %+v, %v", what, at, r, err)
			}
		}
	}
	for i := range image {
		if i < headerSize || i >= firstSlot {
			check("truncated", i, image[:i])
		}
		for bit := range 8 {
			image[i] ^= 1 << bit
			check("flipped", i, image)
			image[i] ^= 1 << bit
		}
	}
}

// forFile returns a record of a file.
func forFile(id FileID, txid int) Record {
	r := New("file:///r", id)
	r.Acked = &Mark{TXID: format.TXID(txid)}
	return r
}

// However many restores write the record of another file and do not rename it, the
// current database keeps its own record. Once one of the files is renamed, its record
// counts.
func TestRecordIsKeyedByFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	create := func(name string) FileID {
		f, err := os.Create(name)
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		id, err := Identify(name)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	requireTXID := func(want int) {
		t.Helper()
		if got, err := Load(path); err != nil || got.Acked.TXID != format.TXID(want) {
			t.Errorf("%+v, %v, want TXID %d", got.Acked, err, want)
		}
	}
	live := create(path)
	save(t, forFile(live, 1), path)
	save(t, forFile(live, 2), path)
	restored := create(path + SuffixRestore)
	for i := range 3 {
		save(t, forFile(restored, 10+i), path)
		requireTXID(2)
	}
	f := continued(t, path)
	if err := f.Append(State{Acked: &Mark{TXID: 3}}, nil); err != nil {
		t.Fatal(err)
	}
	requireTXID(3)
	f.Close()
	save(t, forFile(restored, 20), path)
	requireTXID(3)
	if err := os.Rename(path+SuffixRestore, path); err != nil {
		t.Fatal(err)
	}
	requireTXID(20)
	save(t, forFile(restored, 21), path)
	requireTXID(21)
	os.Remove(path)
	requireTXID(21) // the newest record
}

// A file reuses its space, however many states are appended and however often the record
// is replaced.
func TestSpaceIsReused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	f := Open(path)
	defer f.Close()
	for i := range 200 {
		draft, err := f.Draft(forFile(FileID{Inode: 1}, i+1))
		if err != nil {
			t.Fatal(err)
		}
		if err := draft.Publish(); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		for range i % 20 {
			if err := f.Append(State{Dirty: make([]byte, 50<<10)}, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	const most = 2 * (mostAppended + slotRoom + 200<<10)
	if info, err := os.Stat(path + Suffix); err != nil || info.Size() > most {
		t.Errorf("%d bytes, %v, want %d at most", info.Size(), err, most)
	}
}

// A draft is written while states are appended. It gives way if they need its space.
func TestAppendBesideDraft(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	save(t, sample, path)
	f := continued(t, path)
	var appending sync.WaitGroup
	appending.Go(func() {
		for i := range uint32(100) {
			if err := f.Append(State{Floor: i, Dirty: make([]byte, 6<<10)}, nil); err != nil {
				t.Error(err)
			}
		}
	})
	var draft *Draft
	for i := range 20 {
		var err error
		if draft, err = f.Draft(forFile(sample.File, 100+i)); err != nil {
			t.Error(err)
		}
	}
	appending.Wait()
	got, err := Load(path)
	if err != nil || got.State == nil || got.State.Floor != 99 || got.Acked.TXID != sample.Acked.TXID {
		t.Errorf("%+v, %v", got, err)
	}
	if err := f.Append(State{Dirty: make([]byte, 60<<10)}, nil); err != nil { // 80 KB in Base64
		t.Fatal(err)
	}
	if err := draft.Publish(); err == nil {
		t.Error("the draft's space was taken, but it is published")
	}
	if got, err := Load(path); err != nil || got.State == nil || got.Acked.TXID != sample.Acked.TXID {
		t.Errorf("%+v, %v", got, err)
	}
}

// If the header of a new record cannot be synced, the old record is in force, and the
// next record must not replace it before a durable record exists.
func TestHeaderThatIsNotSynced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	save(t, forFile(FileID{}, 1), path)
	failing := failDisk{}
	wrapStateFile(t, func(_ string, d diskhook.Disk) diskhook.Disk { failing.Disk = d; return &failing })
	f := Open(path)
	defer f.Close()
	draft, err := f.Draft(forFile(FileID{}, 2))
	if err == nil {
		err = draft.Publish()
	}
	if err != nil {
		t.Fatal(err)
	}
	failing.err = errors.New("injected")
	if err := f.Sync(); !errors.Is(err, failing.err) {
		t.Error(err)
	}
	if got, err := Load(path); err != nil || got.Acked.TXID != 1 {
		t.Errorf("%+v, %v", got.Acked, err)
	}
	failing.err = nil
	save(t, forFile(FileID{}, 3), path)
	image, err := os.ReadFile(path + Suffix)
	if err != nil {
		t.Fatal(err)
	}
	_, older := readSlots(image, func([]byte) bool { return true })
	if older == nil {
		t.Fatal("the durable record is gone")
	}
	if r, err := decode(older); err != nil || r.Acked.TXID != 1 {
		t.Errorf("%+v, %v", r.Acked, err)
	}
}

// A new record that does not fit on the disk leaves the old record in force, and states
// can still be appended to it.
func TestDraftFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	save(t, sample, path)
	failing := failDisk{}
	wrapStateFile(t, func(_ string, d diskhook.Disk) diskhook.Disk { failing.Disk = d; return &failing })
	f := continued(t, path)
	failing.full = true
	if _, err := f.Draft(forFile(FileID{}, 2)); !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	failing.full = false
	draft, err := f.Draft(forFile(FileID{}, 2))
	if err != nil {
		t.Fatal(err)
	}
	failing.full = true
	if err := draft.Publish(); !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	failing.full = false
	if err := f.Append(State{Floor: 77}, nil); err != nil {
		t.Error(err)
	}
	if got, err := Load(path); err != nil || got.NodeID != sample.NodeID || got.State == nil || got.State.Floor != 77 {
		t.Errorf("%+v, %v", got, err)
	}
}

// A failDisk fails to sync while it has an error, and to write while it is full.
type failDisk struct {
	diskhook.Disk
	err  error
	full bool
}

func (d *failDisk) WriteAt(p []byte, off int64) (int, error) {
	if d.full {
		return 0, syscall.ENOSPC
	}
	return d.Disk.WriteAt(p, off)
}

func (d *failDisk) Sync() error { return errors.Join(d.err, d.Disk.Sync()) }

func wrapStateFile(t *testing.T, wrap func(name string, d diskhook.Disk) diskhook.Disk) {
	diskhook.StateFile.Store(&wrap)
	t.Cleanup(func() { diskhook.StateFile.Store(nil) })
}
