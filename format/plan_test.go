package format_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/walvfs/walvfs/format"
)

// files parses "level/min-max", in decimal for readability.
func files(t testing.TB, spec string) (a []format.FileInfo) {
	t.Helper()
	for _, s := range strings.Fields(spec) {
		var f format.FileInfo
		if _, err := fmt.Sscanf(s, "%d/%d-%d", &f.Level, &f.MinTXID, &f.MaxTXID); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		a = append(a, f)
	}
	return a
}

// spec is the inverse of files.
func spec(a []format.FileInfo) string {
	var s []string
	for _, f := range a {
		s = append(s, fmt.Sprintf("%d/%d-%d", f.Level, f.MinTXID, f.MaxTXID))
	}
	return strings.Join(s, " ")
}

func TestPlan(t *testing.T) {
	tests := []struct {
		name   string
		files  string
		target format.TXID
		want   string
	}{
		{"first file alone", "0/1-1", 0, "0/1-1"},
		{"level 0 only", "0/3-3 0/1-1 0/2-2", 0, "0/1-1 0/2-2 0/3-3"},
		{"level 0 only, older", "0/1-1 0/2-2 0/3-3", 2, "0/1-1 0/2-2"},
		{"snapshot", "9/1-5 0/4-4 0/5-5 0/6-6 0/7-7", 0, "9/1-5 0/6-6 0/7-7"},
		{"newest snapshot", "9/1-5 9/1-7 0/6-6 0/7-7 0/8-8", 0, "9/1-7 0/8-8"},
		{"newest snapshot at or before the target", "9/1-5 9/1-7 0/6-6 0/7-7 0/8-8", 6, "9/1-5 0/6-6"},
		{"snapshot is the target", "9/1-5 9/1-7 0/6-6", 5, "9/1-5"},
		{"compacted from TXID 1 without a snapshot", "1/1-4 0/1-1 0/4-4 0/5-5", 0, "1/1-4 0/5-5"},
		{"compacted from TXID 1 beyond the snapshot", "9/1-3 1/1-8 0/9-9", 0, "9/1-3 1/1-8 0/9-9"},
		{"largest step wins", "9/1-5 0/6-6 0/7-7 1/6-7 2/6-9 0/10-10", 0, "9/1-5 2/6-9 0/10-10"},
		{"higher level wins", "9/1-5 1/6-9 2/6-9 0/6-6", 0, "9/1-5 2/6-9"},
		{"higher level wins whatever comes first", "2/6-9 9/1-5 1/6-9", 0, "9/1-5 2/6-9"},
		{"shorter file of one level wins", "9/1-5 1/2-9 1/6-9 1/4-9", 0, "9/1-5 1/6-9"},
		{"overlap", "9/1-5 1/4-8 2/2-7 1/7-12", 0, "9/1-5 1/4-8 1/7-12"},
		{"a step beyond the target is not taken", "9/1-5 1/6-9 0/6-6 0/7-7", 7, "9/1-5 0/6-6 0/7-7"},
		{"gap that a compacted file bridges", "0/1-1 0/2-2 0/4-4 1/1-4", 0, "1/1-4"},
		{"gap before the snapshot", "0/1-1 0/3-3 9/1-5 0/6-6", 0, "9/1-5 0/6-6"},
		{"gap behind the target", "0/1-1 0/2-2 0/4-4", 2, "0/1-1 0/2-2"},
		{"level 9 from another TXID is no start", "9/2-5 0/1-1", 0, "0/1-1 9/2-5"},
		{"what cannot be in a replica is ignored", "10/1-9 0/0-9 0/9-8 0/1-1", 0, "0/1-1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := files(t, tt.files)
			got, err := format.Plan(in, tt.target)
			if err != nil || spec(got) != tt.want {
				t.Errorf("%s, %v; want %s", spec(got), err, tt.want)
			}
			if spec(in) != tt.files {
				t.Errorf("the argument became %s", spec(in))
			}
		})
	}
}

func TestPlanSaysWhatIsMissing(t *testing.T) {
	one := func(s string) format.FileInfo {
		if s == "" {
			return format.FileInfo{}
		}
		return files(t, s)[0]
	}
	gap := func(target, missing format.TXID, after, next string) error {
		return &format.GapError{Target: target, Missing: missing, After: one(after), Next: one(next)}
	}
	tests := []struct {
		name   string
		files  string
		target format.TXID
		want   error
		says   string
	}{
		{"gap", "0/1-1 0/2-2 0/4-4 0/5-5", 0, gap(5, 3, "0/2-2", "0/4-4"), "TXID 0000000000000002 can be restored instead"},
		{"gap before the target", "0/1-1 0/2-2 0/4-4 0/5-5", 4, gap(4, 3, "0/2-2", "0/4-4"), "TXID 0000000000000003 is missing"},
		{"gap after a snapshot", "9/1-5 0/7-7", 0, gap(7, 6, "9/1-5", "0/7-7"), "9/0000000000000001-0000000000000005"},
		{"gap after overlap", "9/1-5 1/3-8 0/10-10 2/12-12", 0, gap(12, 9, "1/3-8", "0/10-10"), ""},
		{"no beginning", "0/4-4 1/3-3", 0, gap(4, 1, "", "1/3-3"), "nothing holds the database before it"},
		{"beyond", "0/1-1 0/2-2", 3, &format.NotReachableError{Target: 3, Before: 2, Newest: 2}, "beyond the newest one, 0000000000000002"},
		{"beyond a gap", "0/1-1 0/3-3", 9, &format.NotReachableError{Target: 9, Before: 1, Newest: 3}, ""},
		{"compacted away", "9/1-5 1/6-9", 7, &format.NotReachableError{Target: 7, Before: 5, After: 9, Newest: 9}, "000005 and 0000000000000009"},
		{"snapshotted away", "9/1-5 9/1-9", 7, &format.NotReachableError{Target: 7, Before: 5, After: 9, Newest: 9}, ""},
		{"its file is there, the way is not", "9/1-5 1/6-9 0/8-8", 8, &format.NotReachableError{Target: 8, Before: 5, After: 9, Newest: 9}, ""},
		{"older than all", "0/3-3 9/1-5", 3, &format.NotReachableError{Target: 3, After: 5, Newest: 5}, "the oldest is 0000000000000005"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := format.Plan(files(t, tt.files), tt.target)
			if got != nil || fmt.Sprintf("%#v", err) != fmt.Sprintf("%#v", tt.want) {
				t.Errorf("%s, %#v; want %#v", spec(got), err, tt.want)
			}
			if err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%q does not say %q", err, tt.says)
			}
		})
	}
	for _, in := range []string{"", "0/0-0"} {
		if _, err := format.Plan(files(t, in), 0); !errors.Is(err, format.ErrNoFiles) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// drawFiles also draws lists that no replica has: random ranges.
func drawFiles(t *rapid.T) []format.FileInfo {
	top := rapid.Uint64Range(1, 14).Draw(t, "top")
	return rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) format.FileInfo {
		f := format.FileInfo{Level: rapid.IntRange(0, 9).Draw(t, "level")}
		f.MinTXID = format.TXID(rapid.Uint64Range(1, top).Draw(t, "min"))
		if f.Level == format.LevelSnapshot {
			f.MinTXID = 1
		}
		f.MaxTXID = f.MinTXID + format.TXID(rapid.Uint64Range(0, 4).Draw(t, "length"))
		return f
	}), 0, 14, func(f format.FileInfo) format.FileInfo { return f }).Draw(t, "files")
}

// shortest finds by brute force how few files lead to each TXID; 0 is not reached.
func shortest(files []format.FileInfo) map[format.TXID]int {
	steps := map[format.TXID]int{0: 0}
	for range files {
		for _, f := range files {
			for cur, n := range steps {
				if f.MinTXID <= cur+1 && f.MaxTXID > cur {
					if m, ok := steps[f.MaxTXID]; !ok || n+1 < m {
						steps[f.MaxTXID] = n + 1
					}
				}
			}
		}
	}
	delete(steps, 0)
	return steps
}

func TestPlanFindsAChainIfThereIsOne(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		in := drawFiles(rt)
		steps := shortest(in)
		var newest format.TXID
		for _, f := range in {
			newest = max(newest, f.MaxTXID)
		}
		for target := format.TXID(1); target <= newest+1; target++ {
			plan, err := format.Plan(in, target)
			n, reachable := steps[target]
			if (err == nil) != reachable {
				rt.Fatalf("TXID %d: %s, %v; a chain exists: %v", target, spec(plan), err, reachable)
			}
			if err != nil {
				checkPlanError(rt, in, target, err)
				continue
			}
			checkChain(rt, in, plan, target)
			checkOnward(rt, in, plan, target)
			// Starting at a snapshot may cost at most one file more than a start from a compacted
			// file.
			if len(plan) > n+1 {
				rt.Fatalf("TXID %d: %s, but %d files suffice", target, spec(plan), n)
			}
		}
		plan, err := format.Plan(in, 0)
		want, wantErr := format.Plan(in, newest)
		if newest > 0 && (spec(plan) != spec(want) || fmt.Sprint(err) != fmt.Sprint(wantErr)) {
			rt.Fatalf("target 0 is not the newest: %s, %v", spec(plan), err)
		}
		if got := format.Restorable(in); !slices.IsSorted(got) || len(got) != len(steps) {
			rt.Fatalf("restorable %v; want %v", got, steps)
		}
	})
}

func checkChain(t *rapid.T, in, plan []format.FileInfo, target format.TXID) {
	var cur format.TXID
	for _, f := range plan {
		if !slices.Contains(in, f) || f.MinTXID > cur+1 || f.MaxTXID <= cur || f.MaxTXID > target {
			t.Fatalf("TXID %d: %s does not hold at %v", target, spec(plan), f)
		}
		cur = f.MaxTXID
	}
	if cur != target {
		t.Fatalf("TXID %d: %s ends elsewhere", target, spec(plan))
	}
	for _, f := range in {
		if f.Level == format.LevelSnapshot && f.MaxTXID <= target && f.MaxTXID > plan[0].MaxTXID {
			t.Fatalf("TXID %d: %s does not start at the newest snapshot", target, spec(plan))
		}
	}
}

// From the start of a plan, PlanFrom leads to the plan's end; without a target, it
// continues until no file follows.
func checkOnward(t *rapid.T, in, plan []format.FileInfo, target format.TXID) {
	at := plan[0].MaxTXID
	for _, to := range []format.TXID{target, 0} {
		cur := at
		for _, f := range format.PlanFrom(in, at, to) {
			if f.MinTXID > cur+1 || f.MaxTXID <= cur || !slices.Contains(in, f) {
				t.Fatalf("from TXID %d to %d: %v does not hold at %d", at, to, f, cur)
			}
			cur = f.MaxTXID
		}
		if to != 0 && cur != to {
			t.Fatalf("from TXID %d: ends at %d, and not at %d", at, cur, to)
		}
		for _, f := range in {
			if to == 0 && f.MinTXID > 0 && f.MinTXID <= cur+1 && f.MaxTXID > cur && f.Level >= 0 && f.Level <= format.LevelSnapshot {
				t.Fatalf("from TXID %d: ends at %d, and %v follows", at, cur, f)
			}
		}
	}
}

// The alternatives in an error must exist, and the missing TXID must not.
func checkPlanError(t *rapid.T, in []format.FileInfo, target format.TXID, err error) {
	var gap *format.GapError
	var not *format.NotReachableError
	can := func(txid format.TXID) bool {
		_, err := format.Plan(in, txid)
		return txid == 0 || err == nil
	}
	switch {
	case errors.As(err, &gap):
		if gap.Target != target || !can(gap.After.MaxTXID) || gap.Missing != gap.After.MaxTXID+1 || !slices.Contains(in, gap.Next) {
			t.Fatalf("TXID %d: %#v", target, err)
		}
		for _, f := range in {
			if f.MinTXID <= gap.Missing && f.MaxTXID >= gap.Missing || f.MinTXID > gap.Missing && f.MinTXID < gap.Next.MinTXID {
				t.Fatalf("TXID %d: %#v, but %v", target, err, f)
			}
		}
	case errors.As(err, &not):
		if not.Target != target || !can(not.Before) || !can(not.After) {
			t.Fatalf("TXID %d: %#v", target, err)
		}
		for txid := not.Before + 1; txid < max(not.After, not.Newest); txid++ {
			if txid != not.After && txid < not.After && can(txid) {
				t.Fatalf("TXID %d: %#v, but %d can be restored", target, err, txid)
			}
		}
		if not.After == 0 && target <= not.Newest {
			t.Fatalf("TXID %d: %#v offers nothing after it", target, err)
		}
	case !errors.Is(err, format.ErrNoFiles) || len(in) > 0:
		t.Fatalf("TXID %d: %v", target, err)
	}
}

func BenchmarkPlan(b *testing.B) {
	in := []format.FileInfo{{Level: 9, MinTXID: 1, MaxTXID: 1}}
	for txid := format.TXID(2); txid < 100_000; txid++ {
		in = append(in, format.FileInfo{MinTXID: txid, MaxTXID: txid})
	}
	for b.Loop() {
		if _, err := format.Plan(in, 0); err != nil {
			b.Fatal(err)
		}
	}
}
