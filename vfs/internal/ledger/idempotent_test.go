package ledger

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/vfs/internal/wal"
)

// indexOf returns a WAL index with the page numbers of frames, the first mxFrame of which
// are its own.
func indexOf(salt format.Salt, mxFrame, nPage, change uint32, pageSize uint16, pages ...uint32) *bytes.Reader {
	h := make([]byte, 0, 136)
	h = binary.NativeEndian.AppendUint32(h, 3007000)
	h = binary.NativeEndian.AppendUint32(h, 0)
	h = binary.NativeEndian.AppendUint32(h, change)
	h = append(h, 1, 0)
	h = binary.NativeEndian.AppendUint16(h, pageSize)
	h = binary.NativeEndian.AppendUint32(h, mxFrame)
	h = binary.NativeEndian.AppendUint32(h, nPage)
	h = append(h, make([]byte, 8)...)
	h = append(h, salt[:]...)
	sum := format.WALChecksum(binary.NativeEndian.Uint16([]byte{0, 1}) == 1, [2]uint32{}, h)
	h = binary.NativeEndian.AppendUint32(h, sum[0])
	h = binary.NativeEndian.AppendUint32(h, sum[1])
	h = append(h, h...)
	h = append(h, make([]byte, 40)...)
	for _, page := range pages {
		h = binary.NativeEndian.AppendUint32(h, page)
	}
	return bytes.NewReader(h)
}

// After a checkpoint, until the next commit, the WAL index says that the WAL is empty,
// but the WAL still has its frames. Following it again does not make pages dirty that a
// cut has taken, nor does the reset by the next commit.
func TestFollowingIsIdempotent(t *testing.T) {
	log := bytes.NewReader(walOf(saltA, []uint32{1, 2, 3}, 0, 0, 50))
	empty := format.WALIndex{PageSize: 512, Salt: saltB, Change: 7, NPage: 50}
	l := clean(saltA, 1)
	l.index = indexOf(saltB, 0, 50, 7, 512)
	x := &wal.FrameIndex{}
	for range 2 {
		if err := l.Scan(log, empty, x); err != nil {
			t.Fatal(err)
		}
		requireDirty(t, l, 2, 3)
	}
	l.Take(50)
	l.Drop()
	if err := l.Scan(log, empty, x); err != nil {
		t.Fatal(err)
	}
	requireDirty(t, l)
	l.Reset(log, saltB, done)
	requireDirty(t, l)

	// Commits in between count.
	l = clean(saltA, 1)
	l.index = indexOf(saltB, 0, 50, 7, 512)
	l.Scan(log, empty, x)
	l.Take(50)
	l.Drop()
	l.index = indexOf(saltB, 0, 50, 8, 512)
	empty.Change = 8
	l.Scan(log, empty, x)
	requireDirty(t, l, 1, 2, 3)
	l.Take(50)
	l.Drop()
	l.index = indexOf(saltB, 0, 50, 9, 512)
	l.Reset(log, saltB, done)
	requireDirty(t, l, 1, 2, 3)
}

// The first commit after an open does not pass for a smaller database.
func TestFirstSizeAfterOpen(t *testing.T) {
	l := clean(saltA, 0)
	l.pageSize, l.floor = 512, 50
	l.Attach(indexOf(saltA, 3, 50, 7, 512))
	l.Sized(60)
	l.Sized(70)
	if p := l.Peek(); p.Least != 0 || p.Size != 70 {
		t.Errorf("the size is %d and the least one %d", p.Size, p.Least)
	}
	l.Sized(40)
	if p := l.Peek(); p.Least != 40 {
		t.Errorf("the least size is %d", p.Least)
	}
}

// The index lists the pages of an epoch only to a writer that has begun the next epoch.
func TestFoldIndexOfAnotherReset(t *testing.T) {
	log := bytes.NewReader(walOf(saltA, []uint32{4, 5}, 50, 50))
	for name, test := range map[string]struct {
		index *bytes.Reader
		next  format.Salt
		want  bool
	}{
		"begun":             {indexOf(saltB, 0, 50, 7, 512, 4, 5), saltB, true},
		"with other salts":  {indexOf(saltA, 0, 50, 7, 512, 4, 5), saltB, false},
		"with frames":       {indexOf(saltB, 1, 50, 7, 512, 4, 5), saltB, false},
		"truncation":        {indexOf(saltB, 0, 50, 7, 512, 4, 5), format.Salt{}, false},
		"others' commits":   {indexOf(saltB, 0, 50, 8, 512, 4, 5), saltB, false},
		"what is left over": {indexOf(saltB, 0, 50, 7, 512), saltB, true},
	} {
		l := clean(saltA, 0)
		l.index, l.tally = test.index, tally{known: true, all: 7}
		if got := l.foldIndex(log, 512, test.next); got != test.want {
			t.Errorf("%s: got %v", name, got)
		}
		if want := test.want && name == "begun"; l.dirty.Contains(4) != want {
			t.Errorf("%s: dirty %v", name, l.dirty.ToArray())
		}
	}
}
