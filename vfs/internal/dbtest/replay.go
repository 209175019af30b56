package dbtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"os"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
)

// A Tester is a [testing.T] or a similar type.
type Tester interface {
	Helper()
	Context() context.Context
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Fatal(args ...any)
}

// A Digest distinguishes one content of a database from every other.
type Digest [sha256.Size]byte

// LiveDigest returns the digest of the committed content of a database: its file and its
// WAL.
func LiveDigest(t Tester, path string) Digest {
	t.Helper()
	return sha256.Sum256(LivePages(t, path))
}

// LivePages returns the same content, page by page.
func LivePages(t Tester, path string) []byte {
	t.Helper()
	pages, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wal, err := os.ReadFile(path + "-wal")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	header, last, commit, err := format.LastCommit(bytes.NewReader(wal))
	if err != nil || last == 0 { // an empty WAL, or a torn one
		if len(pages) < 100 {
			return pages
		}
		return pages[:len(pages)-len(pages)%PageSize(pages)]
	}
	size := int64(header.PageSize)
	pages = Resize(pages, int64(commit.Commit)*size)
	format.ScanWAL(bytes.NewReader(wal), func(n uint32, f format.Frame, page []byte) error {
		if n <= last && f.Page <= commit.Commit {
			copy(pages[int64(f.Page-1)*size:], page)
		}
		return nil
	})
	return pages
}

// PageSize reads the page size from a database's header.
func PageSize(header []byte) int {
	if size := int(header[16])<<8 | int(header[17]); size > 1 {
		return size
	}
	return 65536
}

// Resize cuts pages off, or appends empty pages.
func Resize(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		return b[:size]
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}

// A Replayed holds the content of a database after each TXID of its replica.
type Replayed struct {
	pages  []byte
	States []Digest // of TXID 1, 2, …
}

// Replay applies the level 0 files of a replica that it has not applied yet.
func (r *Replayed) Replay(t Tester, store storage.Store) {
	t.Helper()
	files, err := replica.All(t.Context(), store) // listed before later files arrive
	if err != nil {
		t.Fatal(err)
	}
	for {
		txid := format.TXID(len(r.States) + 1)
		file, _, err := store.Open(t.Context(), store.Layout().Key(format.LevelRaw, txid, txid), 0, -1)
		if errors.Is(err, storage.ErrNotExist) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		h, _, err := format.Decode(file, func(h format.LTXHeader, pgno uint32, page []byte) error {
			off := int64(pgno-1) * int64(h.PageSize)
			r.pages = Resize(r.pages, max(int64(len(r.pages)), off+int64(len(page))))
			copy(r.pages[off:], page)
			return nil
		})
		if err != nil {
			t.Fatalf("TXID %s: %v", txid, err)
		}
		r.pages = Resize(r.pages, int64(h.Commit)*int64(h.PageSize))
		r.States = append(r.States, sha256.Sum256(r.pages))
	}
	for _, f := range files { // files of levels, too, if the test takes long
		if f.MaxTXID > format.TXID(len(r.States)) {
			t.Fatalf("the replica has TXID %s, without a gap only those up to %d", f.MaxTXID, len(r.States))
		}
	}
}

// RequireTip fails unless the replica's newest state equals the database.
func (r *Replayed) RequireTip(t Tester, store storage.Store, path, label string) {
	t.Helper()
	r.Replay(t, store)
	live := LivePages(t, path)
	if bytes.Equal(r.pages, live) {
		return
	}
	size := PageSize(live)
	t.Errorf("%s: the replica has %d bytes, the database %d", label, len(r.pages), len(live))
	for off := 0; off+size <= min(len(live), len(r.pages)); off += size {
		if !bytes.Equal(live[off:off+size], r.pages[off:off+size]) {
			t.Errorf("%s: page %d differs", label, off/size+1)
		}
	}
}

// RequireCommits fails unless every TXID is a committed state, and later TXIDs
// are later states.
func (r *Replayed) RequireCommits(t Tester, commits []Digest, label string) {
	t.Helper()
	at := 0
	for i, state := range r.States {
		for at < len(commits) && commits[at] != state {
			at++
		}
		if at == len(commits) {
			t.Fatalf("%s: TXID %d is no committed state, or an older one than the TXID before", label, i+1)
		}
	}
}
