package verify

import (
	"fmt"

	"github.com/walvfs/walvfs/format"
)

// replay goes through the files of a replica in the order of their last TXID, and of two
// that end at the same TXID the lower level first. It keeps the known state of the
// database at the TXID reached, as one hash per page: a file that goes beyond that TXID
// changes the state, and a file that ends there must agree with it.
//
//	level 0      1 2 3 4 5 6            state: 1, 2, 3 ...
//	level 1          1-3   4-6          compared with the state at 3, at 6
//	level 9                1-6          compared with the state at 6
//
// Where level 0 is already removed, the lowest remaining level takes its place:
//
//	level 0          . . . 4 5 6        the state at 3 is what 1-3 says
//	level 1          1-3   4-6
//
// After TXIDs that are in no file, no page is known: pages become known again as files
// contain them.
type replay struct {
	txid     format.TXID // reached
	pageSize uint32
	commit   uint32     // size of the database, in pages
	pages    pageStates // pages beyond the database's end are unknown

	problem func(f format.FileInfo, message string, args ...any) // of a file that a restore uses
	refused func(f format.FileInfo, message string, args ...any) // of a file that a restore avoids
}

// file processes the next file.
func (s *replay) file(f *fileHashes) {
	beyond := f.MaxTXID > s.txid
	if beyond {
		s.start(f)
	} else if f.header.PageSize != s.pageSize || f.header.Commit != s.commit {
		s.problem(f.FileInfo, "its database has %d pages of %d bytes, but lower levels have %d of %d at its TXID",
			f.header.Commit, f.header.PageSize, s.commit, s.pageSize)
		return
	}
	s.checkMissing(f)
	differ := 0
	for _, p := range f.pages { // none of them is beyond commit
		state := s.pages.at(p.number)
		switch {
		case beyond:
			*state = pageState{p.hash, true, f.MinTXID}
		case !state.known:
			state.hash, state.known = p.hash, true
		case state.hash != p.hash:
			if differ++; differ == 1 {
				s.problem(f.FileInfo, "page %d is not as lower levels have it at its TXID", p.number)
			}
		}
	}
	if differ > 1 {
		s.problem(f.FileInfo, "and %d more pages", differ-1)
	}
	if beyond {
		s.txid, s.pageSize, s.commit = f.MaxTXID, f.header.PageSize, f.header.Commit
		s.pages.cut(s.commit)
	}
}

// start prepares the state for a file that goes beyond it.
func (s *replay) start(f *fileHashes) {
	if f.MinTXID > s.txid+1 || f.header.PageSize != s.pageSize {
		s.pages = pageStates{}
		return
	}
	lock := format.LockPage(f.header.PageSize)
	for number := s.commit + 1; number <= f.header.Commit; number++ {
		if _, ok := f.has(number); !ok && number != lock {
			s.refused(f.FileInfo, "the database grows from %d to %d pages, but page %d is not in it", s.commit, f.header.Commit, number)
			return
		}
	}
}

// checkMissing finds pages that changed in the file's range and are not in the file.
func (s *replay) checkMissing(f *fileHashes) {
	if f.MinTXID > s.txid {
		return
	}
	missing, first := 0, uint32(0)
	lock := format.LockPage(f.header.PageSize)
	for number, p := range s.pages.all() {
		if p.changed < f.MinTXID || p.changed == 0 || number > f.header.Commit || number == lock {
			continue
		}
		if _, ok := f.has(number); !ok {
			missing++
			if first == 0 || number < first {
				first = number
			}
		}
	}
	if missing > 0 {
		s.problem(f.FileInfo, "page %d changed at or after TXID %s and is not in it%s", first, s.pages.at(first).changed, andMore(missing-1))
	}
}

func andMore(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", nor are %d more", n)
}
