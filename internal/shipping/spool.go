package shipping

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper/storage"
)

// spoolMemory is the size up to which an encoded file is kept in memory, in
// bytes. Most commits are a few pages; a snapshot goes to a temporary file.
const spoolMemory = 1 << 20

// All spools of a process share a limit. Beyond it, only small files are kept in memory:
// during an outage, each database has one.
const (
	spoolsMemory = 16 << 20
	spoolSmall   = 16 << 10
)

// spooled counts the bytes in memory of all spools.
var spooled atomic.Int64

// A spool keeps one encoded LTX file until the replica has acknowledged it, so
// that the same bytes can be sent again. Its memory is bounded.
type spool struct {
	dir    string // for the temporary file
	pieces [][]byte
	file   *os.File // has the whole file; nil while pieces has it
	size   int64
	sent   atomic.Int64 // bytes read so far
}

var (
	_ io.Writer    = (*spool)(nil)
	_ storage.Body = (*spool)(nil)
)

func (s *spool) Write(p []byte) (n int, err error) {
	if s.file == nil && s.tooLarge(len(p)) {
		if err := s.spill(); err != nil {
			return 0, err
		}
	}
	if s.file != nil {
		n, err = s.file.WriteAt(p, s.size)
	} else { // an encoder writes sizable pieces
		s.pieces, n = append(s.pieces, bytes.Clone(p)), len(p)
		spooled.Add(int64(n))
	}
	s.size += int64(n)
	return n, err
}

// tooLarge reports whether n more bytes make the file too large for memory.
func (s *spool) tooLarge(n int) bool {
	size := s.size + int64(n)
	return size > spoolMemory || size > spoolSmall && spooled.Load()+int64(n) > spoolsMemory
}

// free releases the memory.
func (s *spool) free() {
	for _, piece := range s.pieces {
		spooled.Add(-int64(len(piece)))
	}
	s.pieces = nil
}

func (s *spool) spill() error {
	f, err := statefile.Temp(s.dir)
	if err != nil {
		return fmt.Errorf("an upload of this size needs a temporary file: %w", err)
	}
	for _, piece := range s.pieces {
		if _, err := f.Write(piece); err != nil {
			return errors.Join(err, statefile.CloseTemp(f))
		}
	}
	s.file = f
	s.free()
	return nil
}

func (s *spool) ReadAt(p []byte, off int64) (n int, err error) {
	if s.file != nil {
		n, err = s.file.ReadAt(p, off)
	} else {
		n, err = s.readPieces(p, off)
	}
	if end := off + int64(n); end > s.sent.Load() {
		s.sent.Store(end)
	}
	return n, err
}

func (s *spool) readPieces(p []byte, off int64) (n int, err error) {
	for _, piece := range s.pieces {
		if off >= int64(len(piece)) {
			off -= int64(len(piece))
			continue
		}
		n += copy(p[n:], piece[off:])
		if n == len(p) {
			return n, nil
		}
		off = 0
	}
	return n, io.EOF
}

func (s *spool) Size() int64 { return s.size }

// Close removes the temporary file.
func (s *spool) Close() error {
	s.free()
	if s.file == nil {
		return nil
	}
	return statefile.CloseTemp(s.file)
}
