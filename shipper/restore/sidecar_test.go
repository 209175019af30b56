package restore

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/sidecar"
)

// A database in its newest state remembers the file that its writer would go on
// from, of the lowest level. Any other one is a stranger's to its replica.
func TestSidecar(t *testing.T) {
	s := newSource(t)
	for i := range uint32(4) {
		s.commit(3, i%3+1)
	}
	s.ship(format.LevelSnapshot, 1, 4)
	newest := format.FileInfo{MinTXID: 4, MaxTXID: 4}
	raw := s.store.objects[s.store.Layout().Key(0, 4, 4)]
	newest.Size = int64(len(raw))
	trailer, err := format.ParseLTXTrailer(raw[len(raw)-format.LTXTrailerSize:])
	if err != nil {
		t.Fatal(err)
	}

	target := filepath.Join(t.TempDir(), "app.db")
	if _, err := Restore(t.Context(), s.store, target, Options{}); err != nil {
		t.Fatal(err)
	}
	got, err := sidecar.Load(target)
	if err != nil {
		t.Fatal(err)
	}
	id, err := sidecar.Identify(target)
	if err != nil {
		t.Fatal(err)
	}
	want := sidecar.Mark{TXID: 4, Checksum: trailer.FileChecksum}
	if got.Acked == nil || *got.Acked != want || got.File != id || got.Replica != s.store.String() {
		t.Errorf("%+v, acknowledged %v, want %v", got, got.Acked, want)
	}

	// An older state replaces it, and what the newer one remembered goes with it.
	if _, err := Restore(t.Context(), s.store, target, Options{TXID: 2, Force: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := sidecar.Load(target); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// A replica in which the page size changes without a snapshot still lacks that for
// Litestream: whoever goes on from it knows.
func TestSidecarRebase(t *testing.T) {
	s := newSource(t)
	s.commit(3)
	s.pageSize = 1024
	s.images = map[format.TXID][]byte{}
	s.commit(2)
	s.commit(2, 1)
	for _, want := range []bool{true, false} {
		target := filepath.Join(t.TempDir(), "app.db")
		if _, err := Restore(t.Context(), s.store, target, Options{}); err != nil {
			t.Fatal(err)
		}
		got, err := sidecar.Load(target)
		if err != nil || got.Acked == nil || got.Acked.Rebase != want {
			t.Errorf("%+v, %v; want %t", got.Acked, err, want)
		}
		s.ship(format.LevelSnapshot, 1, 2)
	}
}
