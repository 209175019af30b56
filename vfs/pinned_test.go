package vfs

import (
	"errors"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/shipping"
)

// The WAL's growth counts from the first of the waiting commits, however they overlap,
// and starts again when the WAL starts over or the replica acknowledges an upload.
func TestPinnedWALIsBounded(t *testing.T) {
	const (
		enter = "enter"
		check = "check"
		leave = "leave"
	)
	type step struct {
		do   string
		salt byte
		end  int64 // MiB
		tip  format.TXID
		full bool
	}
	for _, test := range []struct {
		name  string
		steps []step
	}{
		{"one waits", []step{{enter, 1, 10, 1, false}, {check, 1, 74, 1, false}, {check, 1, 75, 1, true}}},
		{"overlapping", []step{{enter, 1, 0, 1, false}, {enter, 1, 40, 1, false}, {leave, 1, 40, 1, false}, {enter, 1, 60, 1, false}, {check, 1, 65, 1, true}}},
		{"one after the other", []step{{enter, 1, 0, 1, false}, {leave, 1, 40, 1, false}, {enter, 1, 60, 1, false}, {check, 1, 65, 1, false}}},
		{"the replica goes on", []step{{enter, 1, 0, 1, false}, {check, 1, 60, 2, false}, {check, 1, 120, 2, false}, {check, 1, 125, 2, true}}},
		{"the WAL starts over", []step{{enter, 1, 0, 1, false}, {check, 2, 50, 1, false}, {check, 2, 110, 1, false}}},
		{"nobody waits any more", []step{{enter, 1, 0, 1, false}, {check, 1, 65, 1, true}, {leave, 1, 65, 1, false}, {enter, 1, 66, 1, true}, {enter, 1, 66, 1, true}}},
		{"until the replica goes on", []step{{enter, 1, 0, 1, false}, {check, 1, 65, 1, true}, {leave, 1, 65, 1, false}, {enter, 1, 66, 2, false}, {check, 1, 120, 2, false}}},
		{"until the WAL starts over", []step{{enter, 1, 0, 1, false}, {check, 1, 65, 1, true}, {leave, 1, 65, 1, false}, {enter, 2, 1, 1, false}}},
	} {
		var p pinned
		for i, s := range test.steps {
			end := shipping.Commit{Salt: format.Salt{s.salt}, End: s.end << 20}
			var err error
			switch s.do {
			case enter:
				err = p.enter(end, s.tip)
			case check:
				err = p.check(end, s.tip)
			case leave:
				p.waiting--
			}
			if (err != nil) != s.full || err != nil && !errors.Is(err, errWALGrowth) {
				t.Errorf("%s: step %d: %v", test.name, i+1, err)
			}
		}
	}
}
