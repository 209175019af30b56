package shipper

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/walvfs/walvfs/shipper/storage"
)

// spoolMemory is the size up to which an encoded file is kept in memory, in
// bytes. Most commits are a few pages; a snapshot goes to a temporary file.
const spoolMemory = 4 << 20

// All spools of a process share a limit, beyond which only small ones are kept in
// memory: during an outage, each database has one.
const (
	spoolsMemory = 64 << 20
	spoolSmall   = 16 << 10
)

// spooled is the memory that all spools take, in bytes.
var spooled atomic.Int64

// A spool keeps one encoded LTX file until the replica has acknowledged it, so
// that the same bytes can be sent again. Its memory is bounded.
type spool struct {
	dir  string // for the temporary file
	buf  bytes.Buffer
	file *os.File
	size int64
}

var (
	_ io.Writer    = (*spool)(nil)
	_ storage.Body = (*spool)(nil)
)

func (s *spool) Write(p []byte) (int, error) {
	if s.file == nil && s.tooLarge(len(p)) {
		if err := s.spill(); err != nil {
			return 0, err
		}
	}
	if s.file == nil {
		n, err := s.buf.Write(p)
		s.size += int64(n)
		spooled.Add(int64(n))
		return n, err
	}
	n, err := s.file.WriteAt(p, s.size)
	s.size += int64(n)
	return n, err
}

// tooLarge reports whether the file is not to be kept in memory with n more bytes.
func (s *spool) tooLarge(n int) bool {
	size := s.buf.Len() + n
	return size > spoolMemory || size > spoolSmall && spooled.Load()+int64(n) > spoolsMemory
}

// free lets go of the memory.
func (s *spool) free() {
	spooled.Add(-int64(s.buf.Len()))
	s.buf = bytes.Buffer{}
}

func (s *spool) spill() error {
	f, err := os.CreateTemp(s.dir, ".walvfs-*.tmp")
	if err != nil {
		return fmt.Errorf("an upload of this size needs a temporary file: %w", err)
	}
	// Unlinked at once where the system allows it, so that a crash leaves
	// nothing behind; otherwise removed by Close.
	os.Remove(f.Name())
	if _, err := f.Write(s.buf.Bytes()); err != nil {
		return errors.Join(err, f.Close(), remove(f.Name()))
	}
	s.file = f
	s.free()
	return nil
}

func (s *spool) ReadAt(p []byte, off int64) (int, error) {
	if s.file != nil {
		return s.file.ReadAt(p, off)
	}
	return bytes.NewReader(s.buf.Bytes()).ReadAt(p, off)
}

func (s *spool) Size() int64 { return s.size }

func (s *spool) Close() error {
	s.free()
	if s.file == nil {
		return nil
	}
	return errors.Join(s.file.Close(), remove(s.file.Name()))
}

func remove(name string) error {
	if err := os.Remove(name); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
