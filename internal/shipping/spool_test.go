package shipping

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"
)

// A spool returns all written bytes, from memory and from a file.
func TestSpoolPieces(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 0))
	for _, size := range []int{0, 1, spoolMemory - 1, spoolMemory, spoolMemory + 1, 3 * spoolMemory} {
		before := spooled.Load()
		s, all := &spool{dir: t.TempDir()}, make([]byte, 0, size)
		for len(all) < size {
			b := make([]byte, min(size-len(all), 1+rng.IntN(100<<10)))
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
			if n, err := s.Write(b); n != len(b) || err != nil {
				t.Fatal(n, err)
			}
			all = append(all, b...)
			clear(b) // the writer reuses the buffer
		}
		if inFile := s.file != nil; s.Size() != int64(size) || inFile != (size > spoolMemory) {
			t.Errorf("size %d, in a file: %v", s.Size(), inFile)
		}
		if got, err := io.ReadAll(io.NewSectionReader(s, 0, s.Size())); err != nil || !bytes.Equal(got, all) {
			t.Errorf("%d bytes do not come back: %v", size, err)
		}
		for range 100 {
			off, n := rng.IntN(size+1), 1+rng.IntN(size+10)
			b := make([]byte, n)
			got, err := s.ReadAt(b, int64(off))
			want := copy(make([]byte, n), all[off:])
			if got != want || !bytes.Equal(b[:got], all[off:off+got]) || (err == io.EOF) != (got < n) {
				t.Fatalf("ReadAt(%d bytes, %d) of %d: %d, %v", n, off, size, got, err)
			}
		}
		if err := s.Close(); err != nil || spooled.Load() != before {
			t.Errorf("%d bytes are counted after the close: %v", spooled.Load()-before, err)
		}
	}
}
