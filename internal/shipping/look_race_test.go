package shipping

import (
	"errors"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
)

// TestListingBesideDeletion: files that retention deletes do not count as vanished,
// whenever another job requests and receives its listing. Other vanished files are still
// reported.
func TestListingBesideDeletion(t *testing.T) {
	var files replica.Files
	for i := range format.TXID(10) {
		files = append(files, replica.File{FileInfo: format.FileInfo{Level: format.LevelRaw, MinTXID: i + 1, MaxTXID: i + 1}})
	}
	before, during, after := files, files[2:], files[4:]
	for _, failure := range []error{nil, errors.New("denied")} {
		for asks := range 6 { // moments: 0 before, 1 and 2 during, 3 and more after the deletion
			for gets := asks; gets < 6; gets++ {
				var l levels
				l.found(before, l.listing(20))
				var asked listing
				var ended func(error)
				for moment := range 6 {
					switch moment {
					case 1:
						ended = l.deletes(before[:4])
					case 3:
						ended(failure)
					}
					if moment == asks {
						asked = l.listing(20)
					}
					if moment == gets {
						for _, got := range []replica.Files{before, during, after} {
							// The listing shows the state of some moment in between.
							if asks >= 3 && len(got) != len(after) || gets < 1 && len(got) != len(before) {
								continue
							}
							if n := l.found(got, asked); n > 0 {
								t.Errorf("asked at %d, got %d files at %d: %d are missing", asks, len(got), gets, n)
							}
						}
					}
				}
				if n := l.found(after, l.listing(20)); n > 0 {
					t.Errorf("asked at %d, got at %d: then %d are missing", asks, gets, n)
				}
				if n := l.found(after[1:], l.listing(20)); n != 1 {
					t.Errorf("asked at %d, got at %d: %d of 1 are missing", asks, gets, n)
				}
			}
		}
	}
}
