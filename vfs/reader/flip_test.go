package reader

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// Every damaged byte of a small replica is detected, or another file is read instead.
func TestEveryByteFlipped(t *testing.T) {
	intact := &storagetest.Memory{Name: "intact"}
	state := []format.TXID{1, 1, 1, 1, 1}
	put(t, intact, 0, encode(t, 1, 1, 5, state))
	state = []format.TXID{2, 1, 2, 1}
	put(t, intact, 0, encode(t, 2, 2, 4, state))
	put(t, intact, 9, encode(t, 1, 2, 4, state))
	state = []format.TXID{3, 1, 2, 3}
	put(t, intact, 0, encode(t, 3, 3, 4, state))
	put(t, intact, 1, encode(t, 2, 3, 4, state))
	files, err := replica.Collect(replica.New(intact, replica.Options{}).List(t.Context(), 0))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, f := range files {
		key := intact.Layout().Key(f.Level, f.MinTXID, f.MaxTXID)
		r, attrs, err := intact.Open(t.Context(), key, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		whole, _ := io.ReadAll(r)
		for i := range whole {
			bad := bytes.Clone(whole)
			bad[i] ^= 1 << (i % 8)
			store := &flipped{intact, key, bad, attrs}
			s := testSource(store)
			v, err := s.newest(t.Context(), 0)
			if err == nil {
				requireState(t, s, v, state)
			} else if !errors.Is(err, format.ErrCorrupt) {
				t.Fatalf("%s, byte %d: %v", key, i, err)
			} else {
				found++
			}
		}
	}
	if found > 0 {
		t.Errorf("%d damages made a replica unreadable in which other files lead to every TXID", found)
	}
}

// flipped is a store with a damaged object.
type flipped struct {
	*storagetest.Memory
	key   string
	bytes []byte
	attrs storage.Attrs
}

func (f *flipped) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, storage.Attrs, error) {
	if key != f.key {
		return f.Memory.Open(ctx, key, offset, length)
	}
	b := f.bytes[min(offset, int64(len(f.bytes))):]
	if length >= 0 {
		b = b[:min(length, int64(len(b)))]
	}
	return io.NopCloser(bytes.NewReader(b)), f.attrs, nil
}
