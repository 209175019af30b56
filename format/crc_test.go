package format

import (
	"hash/crc64"
	"math/rand/v2"
	"testing"
)

// The sums of parts combine into the sum of the whole, which equals the standard
// library's.
func TestCRC(t *testing.T) {
	b := make([]byte, 3000)
	rand.NewChaCha8([32]byte{}).Read(b)
	for n := range b {
		crc := rand.Uint64()
		if got, want := updateCRC(crc, b[:n]), crc64.Update(crc, crcTable, b[:n]); got != want {
			t.Fatalf("%d bytes: %x, want %x", n, got, want)
		}
		var whole, part crcSum
		i := rand.IntN(n + 1)
		whole.write(b[:i])
		part.write(b[i:n])
		whole.append(part)
		if want := crc64.Checksum(b[:n], crcTable); whole.crc != want || whole.n != int64(n) {
			t.Fatalf("%d and %d bytes: %x, want %x", i, n-i, whole.crc, want)
		}
	}
}

// Sums work for lengths beyond any that a test can write.
func TestCRCOfZeros(t *testing.T) {
	var s crcSum
	s.write(make([]byte, 1<<10))
	for range 20 {
		s.append(s)
	}
	want := crc64.New(crcTable)
	for range 1 << 10 {
		want.Write(make([]byte, 1<<20))
	}
	if s.n != 1<<30 || s.crc != want.Sum64() {
		t.Errorf("%d zeros: %x, want %x", s.n, s.crc, want.Sum64())
	}
}

func BenchmarkCRC(b *testing.B) {
	page := make([]byte, 4096)
	for name, update := range map[string]func(uint64, []byte) uint64{
		"standard": func(crc uint64, b []byte) uint64 { return crc64.Update(crc, crcTable, b) },
		"ours":     updateCRC,
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(page)))
			for b.Loop() {
				update(1, page)
			}
		})
	}
}
