package restore

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// BenchmarkRestore restores 256 MiB, half of them as compressible as text, and then 100
// commits of 10 pages.
func BenchmarkRestore(b *testing.B) {
	const pageSize, pages = 4096, 65536
	store := storagetest.File(b).Open(b)
	rnd := rand.NewChaCha8([32]byte{})
	page := make([]byte, pageSize)
	ship := func(level int, lo, hi format.TXID, first, n, step uint32) {
		var buf bytes.Buffer
		enc, err := format.NewEncoder(&buf, format.LTXHeader{PageSize: pageSize, Commit: pages, MinTXID: lo, MaxTXID: hi, Timestamp: 1})
		if err != nil {
			b.Fatal(err)
		}
		for i := range n {
			rnd.Read(page[:pageSize/2])
			if err := enc.Page(first+i*step, page); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := enc.Close(); err != nil {
			b.Fatal(err)
		}
		if err := store.Create(b.Context(), store.Layout().Key(level, lo, hi), bytes.NewReader(buf.Bytes()), storage.Attrs{Time: firstCommit}); err != nil {
			b.Fatal(err)
		}
	}
	ship(format.LevelSnapshot, 1, 1, 1, pages, 1)
	for txid := format.TXID(2); txid <= 101; txid++ {
		ship(format.LevelRaw, txid, txid, uint32(txid), 10, 6000)
	}
	target := filepath.Join(b.TempDir(), "app.db")
	b.SetBytes(pages * pageSize)
	b.ReportAllocs()
	for b.Loop() {
		os.Remove(target)
		if _, err := Restore(b.Context(), store, target, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
