package restore

import (
	"path/filepath"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/statefile"
)

// The record of a database in its newest state has the file that its writer would
// continue from, of the lowest level.
func TestRecord(t *testing.T) {
	s := newSource(t)
	for i := range uint32(4) {
		s.commit(3, i%3+1)
	}
	s.ship(format.LevelSnapshot, 1, 4)
	target := filepath.Join(t.TempDir(), "app.db")
	if _, err := Restore(t.Context(), s.store, target, Options{}); err != nil {
		t.Fatal(err)
	}
	got, err := statefile.Load(target)
	if err != nil {
		t.Fatal(err)
	}
	id, err := statefile.Identify(target)
	if err != nil {
		t.Fatal(err)
	}
	want := statefile.Mark{TXID: 4, Checksum: trailerOf(t, s, 0, 4, 4)}
	if got.Acked == nil || *got.Acked != want || got.File != id || got.Replica != s.store.String() {
		t.Errorf("%+v, acknowledged %v, want %v", got, got.Acked, want)
	}

}

// trailerOf returns the checksum of a file.
func trailerOf(t *testing.T, s *source, level int, lo, hi format.TXID) format.Checksum {
	t.Helper()
	b := s.store.objects[s.store.Layout().Key(level, lo, hi)]
	trailer, err := format.ParseLTXTrailer(b[len(b)-format.LTXTrailerSize:])
	if err != nil {
		t.Fatal(err)
	}
	return trailer.FileChecksum
}

// The record of a database in an older state has the file that ends there, of the lowest
// level. After a rewind, it has the newest file, and no page is known to equal that
// file's.
func TestRecordOfOlderState(t *testing.T) {
	s := newSource(t)
	for i := range uint32(6) {
		s.commit(3, i%3+1)
	}
	s.ship(format.LevelSnapshot, 1, 3)
	s.ship(1, 2, 3)
	s.ship(2, 2, 3)
	s.drop(0, 2, 2)
	s.drop(0, 3, 3)
	s.ship(1, 4, 6)
	at3 := statefile.Mark{TXID: 3, Checksum: trailerOf(t, s, 1, 2, 3)}
	tip := statefile.Mark{TXID: 6, Checksum: trailerOf(t, s, 0, 6, 6)}
	for name, c := range map[string]struct {
		opts  Options
		mark  statefile.Mark
		floor uint32
	}{
		"older":                  {Options{TXID: 3}, at3, 3},
		"by time":                {Options{Timestamp: s.time(3)}, at3, 3},
		"rewound":                {Options{TXID: 3, Rewind: true}, tip, 0},
		"rewound to the newest":  {Options{TXID: 6, Rewind: true}, tip, 3},
		"replaces a newer state": {Options{TXID: 3, Force: true}, at3, 3},
	} {
		t.Run(name, func(t *testing.T) {
			target := filepath.Join(t.TempDir(), "app.db")
			if c.opts.Force {
				if _, err := Restore(t.Context(), s.store, target, Options{}); err != nil {
					t.Fatal(err)
				}
			}
			r, err := Restore(t.Context(), s.store, target, c.opts)
			if err != nil {
				t.Fatal(err)
			}
			got, err := statefile.Load(target)
			if err != nil {
				t.Fatal(err)
			}
			if got.Acked == nil || *got.Acked != c.mark || !got.Restored || got.Rewind != (c.floor == 0) || got.State.Floor != c.floor {
				t.Errorf("%+v, acknowledged %v, state %+v", got, got.Acked, got.State)
			}
			if !got.State.Closed.Settled {
				t.Error("what is written to it now may not show")
			}
			if r.TXID != min(r.TXID, 6) || r.Newest != 6 || r.TXID == 3 && r.Checksum != at3.Checksum {
				t.Errorf("result is %+v", r)
			}
		})
	}
}

// A replica in which the page size changes without a snapshot still lacks one for
// Litestream. The record passes that on to the next writer.
func TestRecordRebase(t *testing.T) {
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
		got, err := statefile.Load(target)
		if err != nil || got.Acked == nil || got.Acked.Rebase != want {
			t.Errorf("%+v, %v; want %t", got.Acked, err, want)
		}
		s.ship(format.LevelSnapshot, 1, 2)
	}
}
