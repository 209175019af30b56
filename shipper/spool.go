package shipper

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/walvfs/walvfs/shipper/storage"
)

// spoolMemory is the size up to which an encoded file is kept in memory, in
// bytes. Most commits are a few pages; a snapshot goes to a temporary file.
const spoolMemory = 4 << 20

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
	if s.file == nil && s.buf.Len()+len(p) > spoolMemory {
		if err := s.spill(); err != nil {
			return 0, err
		}
	}
	if s.file == nil {
		n, err := s.buf.Write(p)
		s.size += int64(n)
		return n, err
	}
	n, err := s.file.WriteAt(p, s.size)
	s.size += int64(n)
	return n, err
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
	s.file, s.buf = f, bytes.Buffer{}
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
	s.buf = bytes.Buffer{}
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
