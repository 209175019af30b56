package diff

import (
	"bytes"
	"io"
	"os"
)

// A spool keeps output to write later: in memory at first, then in a temporary file.
type spool struct {
	memory bytes.Buffer
	file   *os.File
}

const spoolMemory = 1 << 20

func (s *spool) WriteString(b string) (int, error) {
	if s.file == nil && s.memory.Len()+len(b) <= spoolMemory {
		return s.memory.WriteString(b)
	}
	if s.file == nil {
		f, err := os.CreateTemp("", "walvfs-diff-*.sql")
		if err != nil {
			return 0, err
		}
		s.file = f
		os.Remove(f.Name()) // removed as soon as possible: on Windows, after it is closed
	}
	if s.memory.Len() > 0 {
		if _, err := s.memory.WriteTo(s.file); err != nil {
			return 0, err
		}
	}
	return s.file.WriteString(b)
}

// empty writes the whole content to w.
func (s *spool) empty(w io.Writer) error {
	if s.file == nil {
		_, err := s.memory.WriteTo(w)
		return err
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := io.Copy(w, s.file); err != nil {
		return err
	}
	_, err := s.file.Seek(0, io.SeekStart)
	if err == nil {
		err = s.file.Truncate(0)
	}
	return err
}

func (s *spool) close() {
	if s.file != nil {
		s.file.Close()
		os.Remove(s.file.Name())
	}
}
