package shipping

import (
	"slices"
	"testing"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// Files expire as the table says, by their age in minutes.
func TestExpired(t *testing.T) {
	now := time.Date(2026, 1, 10, 0, 0, 0, 0, time.UTC)
	policy := Policy{KeepRaw: 5 * time.Minute, Keep: time.Hour}
	file := func(level int, lo, hi format.TXID, minutes int) replica.File {
		return replica.File{FileInfo: format.FileInfo{Level: level, MinTXID: lo, MaxTXID: hi}, Written: now.Add(-time.Duration(minutes) * time.Minute)}
	}
	for _, test := range []struct {
		name  string
		files replica.Files
		gone  []int // indexes of files
		again bool
	}{
		{"nothing", nil, nil, false},
		{"no base", replica.Files{file(0, 5, 5, 99), file(1, 5, 6, 99)}, nil, false},
		{"not compacted", replica.Files{file(0, 1, 1, 99), file(0, 2, 2, 98), file(0, 3, 3, 97)}, nil, false},
		{"compacted", replica.Files{file(0, 1, 1, 99), file(0, 2, 2, 98), file(1, 2, 2, 97), file(0, 3, 3, 96)}, []int{1}, false},
		{"compacted lately", replica.Files{file(0, 1, 1, 99), file(0, 2, 2, 5), file(1, 2, 2, 4), file(0, 3, 3, 3)}, nil, true},
		{"compacted in the future", replica.Files{file(0, 1, 1, 99), file(0, 2, 2, -3), file(1, 2, 2, -4), file(0, 3, 3, 3)}, nil, false},
		{"compacted long after", replica.Files{file(0, 1, 1, 99), file(0, 2, 2, 98), file(0, 3, 3, 10), file(1, 2, 3, 9), file(0, 4, 4, 8)}, []int{2}, false},
		{"the newest stays", replica.Files{file(0, 1, 1, 99), file(0, 2, 2, 98), file(1, 2, 2, 97)}, nil, false},
		{"compacted twice", replica.Files{file(0, 1, 1, 99), file(0, 2, 2, 98), file(1, 2, 2, 97), file(2, 2, 2, 3), file(0, 3, 3, 1)}, []int{1}, false},
		{"in a snapshot only", replica.Files{file(0, 1, 1, 99), file(0, 2, 2, 50), file(0, 3, 3, 40), file(9, 1, 3, 30), file(0, 4, 4, 3)}, nil, false},
		{"before the only base that is old enough", replica.Files{
			file(0, 1, 1, 99), file(1, 2, 3, 98), file(0, 3, 3, 98), file(9, 1, 3, 90), file(1, 4, 5, 70), file(9, 1, 5, 30), file(0, 6, 6, 3),
		}, []int{0, 1, 2}, false},
		{"snapshots that are too old", replica.Files{file(9, 1, 3, 300), file(9, 1, 5, 200), file(9, 1, 7, 100), file(9, 1, 9, 10), file(0, 9, 9, 10)}, []int{0, 1}, false},
		{"one snapshot always", replica.Files{file(9, 1, 3, 9000), file(0, 3, 3, 9000)}, nil, false},
		{"two levels overlap", replica.Files{file(9, 1, 3, 300), file(1, 2, 5, 200), file(1, 4, 5, 200), file(0, 5, 5, 200)}, nil, false},
	} {
		out, again := expired(test.files, policy, now)
		var want replica.Files
		for _, i := range test.gone {
			want = append(want, test.files[i])
		}
		if !slices.Equal(sorted(out), sorted(want)) || again != test.again {
			t.Errorf("%s: %v, %t, want %v, %t", test.name, out, again, want, test.again)
		}
	}
}

func sorted(files replica.Files) replica.Files {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b replica.File) int { return a.Written.Compare(b.Written)*100 + a.Level - b.Level })
	return files
}

// No file expires if a remaining file's state could then not be restored.
func TestLeadsTo(t *testing.T) {
	file := func(level int, lo, hi format.TXID) replica.File {
		return replica.File{FileInfo: format.FileInfo{Level: level, MinTXID: lo, MaxTXID: hi}}
	}
	all := replica.Files{file(9, 1, 3), file(0, 4, 4), file(0, 5, 5), file(1, 4, 5)}
	for _, test := range []struct {
		rest replica.Files
		want bool
	}{
		{all, true},
		{all[:3], true},
		{replica.Files{all[0], all[2], all[3]}, true},
		{replica.Files{all[0], all[2]}, false},
		{all[1:], false},
	} {
		if got := leadsTo(test.rest, all); got != test.want {
			t.Errorf("%v: %t", test.rest, got)
		}
	}
}

// A clock that has jumped ahead does not make files expire.
func TestStoreTime(t *testing.T) {
	now := time.Now()
	files := replica.Files{{Written: now.Add(-50 * time.Hour)}, {Written: now.Add(-48 * time.Hour)}}
	s := &Shipper{ackedAt: now.Add(-time.Minute), levels: &levels{fromTime: now.Add(-2 * time.Hour), begun: now.Add(-2 * time.Hour)}}
	if got, want := s.storeTime(files, now), now.Add(-48*time.Hour+time.Minute); !got.Equal(want) {
		t.Errorf("%s, want %s", got, want)
	}
	files[1].Written = now.Add(time.Hour) // nor does the store's clock
	if got := s.storeTime(files, now); !got.Equal(now) {
		t.Errorf("%s, want %s", got, now)
	}
	// Neither does a clock that was wrong before the start, nor one that the store
	// shares.
	s.levels.begun = now.Add(-time.Minute)
	if got, want := s.storeTime(files, now), now.Add(-2*time.Hour+time.Minute); !got.Equal(want) {
		t.Errorf("%s, want %s", got, want)
	}
}

// Level 0 files are kept for so long that a sleeping writer finds the writer that took
// its TXID.
func TestKeepRawIsEnough(t *testing.T) {
	s := New(nil, new(storagetest.Memory), Options{Policy: Policy{KeepRaw: time.Second, Keep: time.Hour}})
	if s.opts.Policy.KeepRaw < 2*lateAfter || s.levels.policy.KeepRaw < 2*lateAfter {
		t.Errorf("%+v", s.opts.Policy)
	}
}
