package replica_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const pageSize = 512

// encode returns an LTX file whose pages hold their numbers and random bytes.
func encode(t *testing.T, minTXID, maxTXID format.TXID, commit uint32, pages ...uint32) []byte {
	t.Helper()
	return encodeAt(t, time.UnixMilli(1_000_000*int64(maxTXID)), minTXID, maxTXID, commit, pages...)
}

func encodeAt(t *testing.T, at time.Time, minTXID, maxTXID format.TXID, commit uint32, pages ...uint32) []byte {
	t.Helper()
	var b bytes.Buffer
	enc, err := format.NewEncoder(&b, format.LTXHeader{
		PageSize: pageSize, Commit: commit, MinTXID: minTXID, MaxTXID: maxTXID,
		Timestamp: at.UnixMilli(),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, pgno := range pages {
		if err := enc.Page(pgno, content(pgno, maxTXID)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// content returns the content of a page that a TXID changed last.
func content(pgno uint32, txid format.TXID) []byte {
	rnd := rand.New(rand.NewPCG(uint64(pgno), uint64(txid)))
	page := make([]byte, pageSize)
	for i := range page[:rnd.IntN(pageSize)] {
		page[i] = byte(rnd.Uint32())
	}
	binary.BigEndian.PutUint32(page[pageSize-4:], pgno)
	return page
}

func numbers(n uint32) (all []uint32) {
	for pgno := uint32(1); pgno <= n; pgno++ {
		all = append(all, pgno)
	}
	return all
}

// put stores a file under its key in a layout.
func put(t *testing.T, store storage.Store, root string, l format.Layout, level int, b []byte) {
	t.Helper()
	h, err := format.ParseLTXHeader(b)
	if err != nil {
		t.Fatal(err)
	}
	putAs(t, store, root+l.Key(level, h.MinTXID, h.MaxTXID), b)
}

func putAs(t *testing.T, store storage.Store, key string, b []byte) {
	t.Helper()
	if err := store.Create(t.Context(), key, bytes.NewReader(b), storage.Attrs{Time: time.Now()}); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, store storage.Store, key string) []byte {
	t.Helper()
	r, _, err := store.Open(t.Context(), key, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// newReplica returns a replica with TXIDs 1 to 8 in level 0, 1 to 4 and 5 to 8 in level
// 1, and 1 to 4 in a snapshot.
func newReplica(t *testing.T) (*storagetest.Memory, *replica.Replica) {
	t.Helper()
	store := &storagetest.Memory{Name: "app"}
	l := store.Layout()
	put(t, store, "", l, 0, encode(t, 1, 1, 100, numbers(100)...))
	for txid := format.TXID(2); txid <= 8; txid++ {
		put(t, store, "", l, 0, encode(t, txid, txid, 100, 1, uint32(txid)*10))
	}
	put(t, store, "", l, 1, encode(t, 1, 4, 100, numbers(100)...))
	put(t, store, "", l, 1, encode(t, 5, 8, 100, 1, 50, 60, 70, 80))
	put(t, store, "", l, 9, encode(t, 1, 4, 100, numbers(100)...))
	return store, replica.New(store, replica.Options{})
}

func info(level int, minTXID, maxTXID format.TXID, b []byte) format.FileInfo {
	return format.FileInfo{Level: level, MinTXID: minTXID, MaxTXID: maxTXID, Size: int64(len(b))}
}

func names(files []format.FileInfo) (s []string) {
	for _, f := range files {
		s = append(s, f.String()[:2]+string(f.MinTXID.String()[15])+"-"+string(f.MaxTXID.String()[15]))
	}
	return s
}

func equal(t *testing.T, what string, got []format.FileInfo, want ...string) {
	t.Helper()
	if !slices.Equal(names(got), want) {
		t.Errorf("%s: %v, want %v", what, names(got), want)
	}
}
