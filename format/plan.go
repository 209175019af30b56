package format

import (
	"cmp"
	"slices"
)

// Plan chooses the files that restore exactly TXID target, in the order in which to apply
// them; target 0 is the newest TXID in files. The first file holds a whole database: the
// newest snapshot at or before the target or, without a snapshot, the file of any level
// from TXID 1 that reaches farthest. Each next file, of any level, begins at or before
// the TXID after the previous file's last. Of these files Plan takes the one that reaches
// farthest, and of two that reach equally far the one of the higher level. Files may
// overlap: a file holds the newest content at its MaxTXID of all pages that changed in
// its range.
//
// Plan fails with [ErrNoFiles] if there is no file, with a [*GapError] if a TXID on the
// way is in no file, and with a [*NotReachableError] if the target is beyond the newest
// TXID or no file ends at it any more. It never returns a plan that ends elsewhere.
func Plan(files []FileInfo, target TXID) ([]FileInfo, error) {
	files = valid(files)
	newest := newestTXID(files)
	if newest == 0 {
		return nil, ErrNoFiles
	}
	if target == 0 {
		target = newest
	}
	first, ok := planStart(files, target)
	if !ok {
		return nil, notReachable(files, target, FileInfo{})
	}

	// Going as far as possible from each file never misses a chain that another choice would
	// find. Files end at or before the target. If a file leads another chain past the TXID
	// that this chain has reached, it begins at or before the next TXID, so this chain can
	// take it too: this chain is never behind. The same holds for the start.
	plan := []FileInfo{first}
	for i := 0; ; {
		cur := plan[len(plan)-1].MaxTXID
		if cur == target {
			return plan, nil
		}
		var next FileInfo // the best file that can follow; each file is examined once
		for ; i < len(files) && files[i].MinTXID <= cur+1; i++ {
			if files[i].MaxTXID <= target && better(files[i], next) {
				next = files[i]
			}
		}
		if next.MaxTXID <= cur {
			return nil, notReachable(files, target, plan[len(plan)-1])
		}
		plan = append(plan, next)
	}
}

// PlanFrom chooses the files that lead from TXID from, which the caller has, to the
// newest TXID that follows it, but not beyond target if that is not 0. Each file begins
// at or before the TXID after the previous file's last. Of these files PlanFrom takes the
// one that reaches farthest, and of several the one with the fewest TXIDs. It returns
// nothing if no file follows, and stops before a TXID that is in no file.
func PlanFrom(files []FileInfo, from, target TXID) (plan []FileInfo) {
	files = valid(files)
	for i := 0; ; {
		var next FileInfo
		for ; i < len(files) && files[i].MinTXID <= from+1; i++ {
			f := files[i]
			if target != 0 && f.MaxTXID > target {
				continue
			}
			if f.MaxTXID > next.MaxTXID || f.MaxTXID == next.MaxTXID && f.MinTXID > next.MinTXID {
				next = f
			}
		}
		if next.MaxTXID <= from {
			return plan
		}
		plan, from = append(plan, next), next.MaxTXID
	}
}

// planStart returns the file that a restore to target starts with.
func planStart(files []FileInfo, target TXID) (first FileInfo, ok bool) {
	for _, f := range files {
		if f.MinTXID != 1 || f.MaxTXID > target {
			continue
		}
		snapshot, had := f.Level == LevelSnapshot, first.Level == LevelSnapshot
		if !ok || snapshot && !had || snapshot == had && better(f, first) {
			first, ok = f, true
		}
	}
	return first, ok
}

// better reports whether f takes a restore farther than g, or equally far with fewer
// files after it.
func better(f, g FileInfo) bool {
	return cmp.Or(
		cmp.Compare(f.MaxTXID, g.MaxTXID),
		cmp.Compare(f.Level, g.Level),
		cmp.Compare(f.MinTXID, g.MinTXID), // fewer bytes
	) > 0
}

// Restorable returns every TXID for which [Plan] finds a plan, ascending.
func Restorable(files []FileInfo) []TXID {
	files = valid(files)
	slices.SortFunc(files, func(f, g FileInfo) int { return cmp.Compare(f.MaxTXID, g.MaxTXID) })
	var reached []TXID
	var last TXID // the newest reached; from 0, files that begin at 1 can follow
	for _, f := range files {
		if f.MaxTXID > last && f.MinTXID <= last+1 {
			last = f.MaxTXID
			reached = append(reached, last)
		}
	}
	return reached
}

// valid returns the files that can be in a replica, by MinTXID.
func valid(files []FileInfo) []FileInfo {
	var a []FileInfo
	for _, f := range files {
		if f.Level >= LevelRaw && f.Level <= LevelSnapshot && f.MinTXID > 0 && f.MinTXID <= f.MaxTXID {
			a = append(a, f)
		}
	}
	slices.SortStableFunc(a, func(f, g FileInfo) int { return cmp.Compare(f.MinTXID, g.MinTXID) })
	return a
}

func newestTXID(files []FileInfo) (newest TXID) {
	for _, f := range files {
		newest = max(newest, f.MaxTXID)
	}
	return newest
}
