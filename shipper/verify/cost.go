package verify

import (
	"fmt"
	"slices"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
)

// costs records which TXIDs cannot be restored because of damaged files, and which are
// restored wrongly because of intact but wrong files. Right are the TXIDs that are
// restored correctly.
func (v *verifier) costs(files, whole replica.Files, right []format.TXID) {
	all := files.Restorable()
	v.result.Lost = len(without(all, right))
	wrong := v.takes(whole)
	for f, problem := range v.bad {
		cost := costOf(wrong[f], "comes out wrong: a restore takes it", "come out wrong: a restore takes it")
		if slices.Contains(v.damaged, f) {
			lost := without(all, files.Without(f).Restorable())
			cost = costOf(lost, "cannot be restored without it", "cannot be restored without it")
		}
		v.result.Problems[problem].Cost = cost
	}
}

// takes returns, for each wrong file, the TXIDs whose restore uses it.
func (v *verifier) takes(whole replica.Files) map[format.FileInfo][]format.TXID {
	taken := map[format.FileInfo][]format.TXID{}
	if len(v.bad) == len(v.damaged) {
		return taken
	}
	for _, txid := range whole.Restorable() {
		p, err := whole.Plan(txid)
		if err != nil {
			continue
		}
		for _, f := range p.Apply {
			if _, bad := v.bad[f]; bad {
				taken[f] = append(taken[f], txid)
			}
		}
	}
	return taken
}

// costOf describes the problem with TXIDs.
func costOf(txids []format.TXID, one, more string) string {
	switch n := len(txids); n {
	case 0:
		return "nothing: other files lead to the same TXIDs"
	case 1:
		return fmt.Sprintf("TXID %s %s", txids[0], one)
	default:
		return fmt.Sprintf("%d TXIDs, from %s to %s, %s", n, txids[0], txids[n-1], more)
	}
}

// without returns the TXIDs of one ascending list that are not in another.
func without(all, some []format.TXID) (rest []format.TXID) {
	for _, txid := range all {
		if _, ok := slices.BinarySearch(some, txid); !ok {
			rest = append(rest, txid)
		}
	}
	return rest
}
