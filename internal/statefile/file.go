package statefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/walvfs/walvfs/internal/statefile/diskhook"
)

// Load reads the record of a database. The error is [fs.ErrNotExist] if there is none,
// [ErrInvalid] if it is damaged, and [fs.ErrPermission] if it may not be read. Of two
// records, Load returns the record of the file that is at the path. If neither matches,
// it returns the newest record, which has another file's ID.
func Load(database string) (Record, error) {
	name := database + Suffix
	f, err := openRegular(name, os.O_RDONLY)
	if err != nil {
		return Record{}, err
	}
	defer f.Close()
	image, err := io.ReadAll(f)
	if err != nil {
		return Record{}, err
	}
	current, _ := readSlots(image, writtenFor(database))
	switch {
	case current == nil && neverPublished(image):
		return Record{}, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	case current == nil:
		return Record{}, fmt.Errorf("read %s: %w", name, ErrInvalid)
	}
	r, err := decode(current)
	if err != nil {
		return Record{}, fmt.Errorf("read %s: %w", name, err)
	}
	return r, nil
}

// writtenFor returns a function that accepts values written for the file now at the path.
func writtenFor(database string) func(value []byte) bool {
	id, err := Identify(database)
	return func(value []byte) bool { return err == nil && fileOf(value) == id }
}

// neverPublished reports whether the file has no record yet, because of a crash or a full
// disk.
func neverPublished(image []byte) bool {
	for _, b := range image[:min(firstSlot, len(image))] {
		if b != 0 {
			return false
		}
	}
	return true
}

// Save writes the record of a database durably. A crash leaves the old record or the new
// one. The record may be for a file that will be renamed to the database's name: until
// then, the file that has the name keeps its own record.
func (r Record) Save(database string) error {
	f := Open(database)
	draft, err := f.Draft(r)
	if err == nil {
		err = draft.Publish()
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// A File is a state file open for writing. States can be appended after a draft was
// published, or after Continue succeeded. Its methods may be called concurrently, but
// with only one draft at a time.
type File struct {
	database string

	mu      sync.Mutex
	f       *os.File // nil: not open
	slots   *Slots   // of f
	created bool     // the name may not be durable
	appends bool     // lines may be appended
	head    int64    // bytes of the record
	keep    tail     // must not be removed: the record, and durable lines
	base    int64    // bytes up to the last whole state
}

// Open returns the state file of a database. It does not access the disk.
func Open(database string) *File { return &File{database: database} }

// Continue allows appending to the record that the file has. The record must be whole.
func (f *File) Continue() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.open(false)
	if err == nil && (f.slots.current == nil || f.slots.current.torn) {
		err = fmt.Errorf("continue %s: %w", f.database+Suffix, ErrInvalid)
	}
	if err != nil {
		return errors.Join(err, f.close())
	}
	f.begin(f.slots.current.tail)
	return nil
}

// begin allows appending lines after the tail.
func (f *File) begin(t tail) { f.appends, f.head, f.keep, f.base = true, t.size, t, t.size }

// open opens the file. f.mu must be held.
func (f *File) open(create bool) error {
	if f.f != nil {
		return nil
	}
	file, created, err := openState(f.database, create)
	if err != nil {
		return err
	}
	f.f, f.created = file, f.created || created
	if f.slots, err = OpenSlots(diskhook.WrapStateFile(file.Name(), file), writtenFor(f.database)); err != nil {
		return errors.Join(err, f.close())
	}
	for _, s := range []*slot{f.slots.current, f.slots.older} {
		if s != nil {
			s.value, s.lines = nil, nil // they would keep the whole file in memory
		}
	}
	return nil
}

// A Draft is a new record that is not in force yet.
type Draft struct {
	file *File
	slot *slot
	on   *Slots
}

// Draft writes a new record, which replaces the old one when it is published. Until then,
// or if Draft fails, states may still be appended to the old record.
func (f *File) Draft(r Record) (*Draft, error) {
	b, err := r.encode(f.database)
	if err != nil {
		return nil, err
	}
	d, err := f.write(b)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", f.database+Suffix, pathless(err))
	}
	return d, nil
}

func (f *File) write(b []byte) (*Draft, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.open(true); err != nil {
		return nil, err
	}
	current := f.slots.current
	slot, err := f.slots.write(b)
	if err != nil {
		if f.slots.current != current { // an earlier record is in force again
			err = errors.Join(err, f.close())
		}
		return nil, err
	}
	return &Draft{file: f, slot: slot, on: f.slots}, nil
}

// Publish puts the draft in force. It fails if states appended meanwhile needed the
// draft's space.
func (d *Draft) Publish() error {
	f := d.file
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.slots != d.on {
		return errOverwritten
	}
	if err := f.slots.publish(d.slot); err != nil {
		return fmt.Errorf("write %s: %w", f.database+Suffix, pathless(err))
	}
	f.begin(d.slot.tail)
	return nil
}

// Discard gives up an unpublished draft.
func (d *Draft) Discard() {
	d.file.mu.Lock()
	defer d.file.mu.Unlock()
	d.on.draft = nil
}

// Sync makes the published record durable. Until then, a crash of the machine may leave
// the record before it.
func (f *File) Sync() error {
	f.mu.Lock()
	slots, created := f.slots, f.created
	var current *slot
	if slots != nil {
		current = slots.current
	}
	f.mu.Unlock()
	if slots == nil {
		return nil
	}
	err := slots.disk.Sync()
	if err == nil && created {
		err = syncDir(filepath.Dir(f.database))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err = slots.synced(current, err); err != nil {
		if f.slots == slots {
			f.close()
		}
		return fmt.Errorf("write %s: %w", f.database+Suffix, pathless(err))
	}
	f.created = false
	return nil
}

// syncDir makes the names in a directory durable, where the system can.
func syncDir(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return nil // a directory that cannot be opened cannot be synced
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil && runtime.GOOS != "windows" {
		return err
	}
	return nil
}

// Close closes the file. It keeps its content.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.close()
}

// close is Close while f.mu is held.
func (f *File) close() error {
	if f.f == nil {
		return nil
	}
	file := f.f
	f.f, f.slots, f.appends = nil, nil, false
	return file.Close()
}

// pathless returns the cause of an error whose message names the file anyway.
func pathless(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) && errors.Unwrap(err) == p.Err {
		return p.Err
	}
	return err
}
