package sidecar

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
)

// Save writes the sidecar of a database durably. A crash leaves the old or the
// new content.
func (s Sidecar) Save(database string) error {
	b, err := s.MarshalBinary()
	if err != nil {
		return err
	}
	f := Open(database)
	draft, err := f.Draft(b, true)
	if err == nil {
		err = draft.Publish()
	}
	if err == nil {
		err = f.SyncName()
	}
	return errors.Join(err, f.Close())
}

// A File is a sidecar on the disk. Its zero value, from [Open], has no content:
// there is nothing to append to until a draft is published. It is not safe for
// concurrent use.
type File struct {
	path string
	f    *os.File // nil: nothing is published, or a write failed
	head int64    // bytes of the last draft
	keep int64    // bytes that must not be removed: that, and what was appended durably
	base int64    // bytes up to the last whole state
	size int64    // bytes
}

// Open returns the sidecar file of a database. It touches nothing.
func Open(database string) *File { return &File{path: database + Suffix} }

// Continue has states appended to the content that the file has, which is whole.
func (s *File) Continue() error {
	f, err := os.OpenFile(s.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	s.f, s.head, s.keep, s.base, s.size = f, info.Size(), info.Size(), info.Size(), info.Size()
	return nil
}

// A Draft is new content under a temporary name.
type Draft struct {
	file *File
	f    *os.File
	size int64
}

// Draft writes new content, durably if so asked, to take the place of the old one
// when it is published.
func (s *File) Draft(b []byte, durable bool) (*Draft, error) {
	f, err := os.OpenFile(s.path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(b)
	if err == nil && durable {
		err = f.Sync()
	}
	d := &Draft{file: s, f: f, size: int64(len(b))}
	if err != nil {
		return nil, errors.Join(err, d.Discard())
	}
	return d, nil
}

// Publish gives the draft the sidecar's name.
func (d *Draft) Publish() error {
	if err := os.Rename(d.file.path+".tmp", d.file.path); err != nil {
		return errors.Join(err, d.Discard())
	}
	if d.file.f != nil {
		d.file.f.Close()
	}
	d.file.f, d.file.head, d.file.keep, d.file.base, d.file.size = d.f, d.size, d.size, d.size, d.size
	return nil
}

// SyncName makes the name of what was published durable, where the system can.
func (s *File) SyncName() error {
	dir, err := os.Open(filepath.Dir(s.path))
	if err != nil {
		return nil // a directory that cannot be opened cannot be synced
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil && runtime.GOOS != "windows" {
		return err
	}
	return nil
}

// Discard removes a draft that is not published.
func (d *Draft) Discard() error {
	return errors.Join(d.f.Close(), os.Remove(d.file.path+".tmp"))
}

// mostAppended bounds what is appended after a whole state, in bytes.
const mostAppended = 1 << 20

// Append adds a state, not durably: a crash of the process does not lose it, a
// crash of the machine may. If state only adds to the one before, all returns the
// whole one, for when what was appended before goes. After an error the file is not
// written to again until the next draft: it ends in a state that the WAL no longer
// matches.
func (s *File) Append(state State, all func() State) error {
	if s.f == nil {
		return nil
	}
	b, err := line(nil, state)
	if err == nil && s.size+int64(len(b)) > s.base+mostAppended {
		if state.More {
			b, err = line(nil, all())
		}
		if err == nil {
			err = s.rewind()
		}
		s.base = s.keep + int64(len(b))
	}
	if err == nil {
		_, err = s.f.WriteAt(b, s.size)
		s.size += int64(len(b))
	}
	if err != nil {
		return errors.Join(err, s.Close())
	}
	return nil
}

// errNoRoom: a draft is better than one more state.
var errNoRoom = errors.New("the sidecar is to be replaced")

// AppendWhole adds a state that is a whole one. It is durable once the function that
// is returned has succeeded, which may be called beside other methods. It fails if
// nothing is published, and if much has been appended: replace the file then.
func (s *File) AppendWhole(state State) (sync func() error, err error) {
	b, err := line(nil, state)
	switch {
	case err != nil:
		return nil, err
	case s.f == nil, s.size+int64(len(b)) > s.head+mostAppended/2:
		return nil, errNoRoom
	}
	if _, err := s.f.WriteAt(b, s.size); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.size += int64(len(b))
	s.base, s.keep = s.size, s.size
	return s.f.Sync, nil
}

// rewind removes the states that were appended, but for what is durable: another one
// follows.
func (s *File) rewind() error {
	s.size = s.keep
	return s.f.Truncate(s.keep)
}

// Close closes the file. It keeps its content.
func (s *File) Close() error {
	if s.f == nil {
		return nil
	}
	f := s.f
	s.f = nil
	return f.Close()
}
