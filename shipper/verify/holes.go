package verify

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/walvfs/walvfs/format"
)

// holes finds TXIDs that are missing although retention cannot have removed them.
// Retention removes the oldest files of a level, and level 0 files that other files
// cover, in any order. Together, the levels below the snapshots have no gap.
func holes(files []format.FileInfo) []string {
	var found []string
	for _, gap := range covered(files, format.LevelSnapshot-1).gaps() {
		found = append(found, fmt.Sprintf("%s in no file but snapshots", gap))
	}
	return found
}

// span is a range of TXIDs.
type span struct{ lo, hi format.TXID }

func (s span) String() string {
	if s.lo == s.hi {
		return fmt.Sprintf("TXID %s is", s.lo)
	}
	return fmt.Sprintf("TXIDs %s to %s are", s.lo, s.hi)
}

// spans are disjoint, ascending, and do not touch.
type spans []span

// covered returns the TXIDs that the files up to a level hold.
func covered(files []format.FileInfo, level int) spans {
	var all, merged spans
	for _, f := range files {
		if f.Level <= level {
			all = append(all, span{f.MinTXID, f.MaxTXID})
		}
	}
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.lo, b.lo) })
	for _, s := range all {
		if n := len(merged); n > 0 && s.lo <= merged[n-1].hi+1 {
			merged[n-1].hi = max(merged[n-1].hi, s.hi)
		} else {
			merged = append(merged, s)
		}
	}
	return merged
}

func (s spans) gaps() spans {
	var gaps spans
	for i := 1; i < len(s); i++ {
		gaps = append(gaps, span{s[i-1].hi + 1, s[i].lo - 1})
	}
	return gaps
}
