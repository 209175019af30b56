package continuity

import "testing"

// marked is a database whose own state file names the tip.
func marked(change func(*Evidence)) Evidence {
	e := Evidence{Exists: true, Record: OwnFile, Proof: Proven, Tip: TipMarked}
	if change != nil {
		change(&e)
	}
	return e
}

// stranger is a database whose state file is lost, with a replica of another node.
func stranger(change func(*Evidence)) Evidence {
	e := Evidence{Exists: true, Record: NoRecord, Tip: TipForeign}
	if change != nil {
		change(&e)
	}
	return e
}

// verdicts maps each kind of evidence to its verdict.
var verdicts = map[string]struct {
	e    Evidence
	want Verdict
}{
	// The state file's mark is the tip.
	"proven":                         {marked(nil), Verdict{Continue, Known}},
	"proven with commits of its own": {marked(func(e *Evidence) { e.OwnChanges = true }), Verdict{Continue, Known}},
	"proven, never adopt":            {marked(func(e *Evidence) { e.Adopt = AdoptNever }), Verdict{Continue, Known}},
	"proven, overwrite":              {marked(func(e *Evidence) { e.Overwrite = true }), Verdict{Continue, Known}},
	"unproven":                       {marked(func(e *Evidence) { e.Proof = Unproven }), Verdict{Resync, NotProven}},
	"restored":                       {marked(func(e *Evidence) { e.Restored = true }), Verdict{Claim, WasRestored}},
	"restored, then written to":      {marked(func(e *Evidence) { e.Restored, e.Proof = true, Unproven }), Verdict{Resync, NotProven}},
	"rewound":                        {marked(func(e *Evidence) { e.Restored, e.Rewound = true, true }), Verdict{Resync, Rewind}},
	"rewound, then written to":       {marked(func(e *Evidence) { e.Rewound, e.Proof = true, Unproven }), Verdict{Resync, Rewind}},

	// The disk has lost commits.
	"lost":             {marked(func(e *Evidence) { e.Proof = DiskLost }), Verdict{Compare, NothingLost}},
	"lost, holds":      {marked(func(e *Evidence) { e.Proof, e.Tip = DiskLost, TipHoldsLoss }), Verdict{Compare, NothingLost}},
	"lost, equal":      {marked(func(e *Evidence) { e.Proof, e.Content = DiskLost, Equal }), Verdict{Resync, NothingLost}},
	"lost, different":  {marked(func(e *Evidence) { e.Proof, e.Content = DiskLost, Different }), Verdict{Halt, LostCommits}},
	"lost, overwrite":  {marked(func(e *Evidence) { e.Proof, e.Overwrite = DiskLost, true }), Verdict{Resync, Overwritten}},
	"lost, adopt says": {marked(func(e *Evidence) { e.Proof, e.Adopt = DiskLost, AdoptEqual }), Verdict{Compare, NothingLost}},

	// Another file's state file names the tip.
	"moved":              {marked(func(e *Evidence) { e.Record = Moved }), Verdict{Compare, WasMoved}},
	"moved, equal":       {marked(func(e *Evidence) { e.Record, e.Content = Moved, Equal }), Verdict{Claim, WasMoved}},
	"moved, different":   {marked(func(e *Evidence) { e.Record, e.Content = Moved, Different }), Verdict{Halt, Diverged}},
	"moved, adopt=never": {marked(func(e *Evidence) { e.Record, e.Adopt = Moved, AdoptNever }), Verdict{Halt, Copy}},
	"moved, adopt=equal": {marked(func(e *Evidence) { e.Record, e.Adopt = Moved, AdoptEqual }), Verdict{Compare, WasMoved}},
	"moved, overwrite":   {marked(func(e *Evidence) { e.Record, e.Overwrite = Moved, true }), Verdict{Resync, Overwritten}},
	"copied":             {marked(func(e *Evidence) { e.Record = Copied }), Verdict{Halt, Copy}},
	"copied, equal":      {marked(func(e *Evidence) { e.Record, e.Content = Copied, Equal }), Verdict{Halt, Copy}},
	"copied, adopt":      {marked(func(e *Evidence) { e.Record, e.Adopt = Copied, AdoptEqual }), Verdict{Compare, Adopted}},
	"copied, adopted":    {marked(func(e *Evidence) { e.Record, e.Adopt, e.Content = Copied, AdoptEqual, Equal }), Verdict{Claim, Adopted}},
	"copied, not equal":  {marked(func(e *Evidence) { e.Record, e.Adopt, e.Content = Copied, AdoptEqual, Different }), Verdict{Halt, Diverged}},
	"copied, overwrite":  {marked(func(e *Evidence) { e.Record, e.Overwrite = Copied, true }), Verdict{Resync, Overwritten}},
	"copied, rewound":    {marked(func(e *Evidence) { e.Record, e.Rewound = Copied, true }), Verdict{Halt, Copy}},

	// The state is lost, and this file wrote the tip.
	"lost state":             {stranger(func(e *Evidence) { e.OurNode = true }), Verdict{Compare, Forgotten}},
	"lost state, equal":      {stranger(func(e *Evidence) { e.OurNode, e.Content = true, Equal }), Verdict{Continue, Forgotten}},
	"lost state, different":  {stranger(func(e *Evidence) { e.OurNode, e.Content = true, Different }), Verdict{Halt, HistoryLost}},
	"lost state, overwrite":  {stranger(func(e *Evidence) { e.OurNode, e.Overwrite = true, true }), Verdict{Resync, Overwritten}},
	"lost state, never":      {stranger(func(e *Evidence) { e.OurNode, e.Adopt = true, AdoptNever }), Verdict{Compare, Forgotten}},
	"older state of its own": {marked(func(e *Evidence) { e.Tip, e.OurNode = TipFollows, true }), Verdict{Compare, Forgotten}},

	// No evidence connects the database with the tip.
	"stranger":               {stranger(nil), Verdict{Halt, Diverged}},
	"stranger, equal":        {stranger(func(e *Evidence) { e.Content = Equal }), Verdict{Halt, Diverged}},
	"stranger, adopt":        {stranger(func(e *Evidence) { e.Adopt = AdoptEqual }), Verdict{Compare, Adopted}},
	"stranger, adopted":      {stranger(func(e *Evidence) { e.Adopt, e.Content = AdoptEqual, Equal }), Verdict{Claim, Adopted}},
	"stranger, not equal":    {stranger(func(e *Evidence) { e.Adopt, e.Content = AdoptEqual, Different }), Verdict{Halt, Diverged}},
	"stranger, overwrite":    {stranger(func(e *Evidence) { e.Overwrite, e.Adopt = true, AdoptEqual }), Verdict{Resync, Overwritten}},
	"a copy of an older one": {stranger(func(e *Evidence) { e.Record, e.Tip = Copied, TipFollows }), Verdict{Halt, Diverged}},
	"moved, and others went": {stranger(func(e *Evidence) { e.Record, e.Tip = Moved, TipFollows }), Verdict{Halt, Diverged}},

	// Another machine has continued the replica.
	"behind":                  {marked(func(e *Evidence) { e.Tip = TipFollows }), Verdict{Halt, Behind}},
	"behind, adopt":           {marked(func(e *Evidence) { e.Tip, e.Adopt = TipFollows, AdoptEqual }), Verdict{Compare, Adopted}},
	"behind, equal":           {marked(func(e *Evidence) { e.Tip, e.Adopt, e.Content = TipFollows, AdoptEqual, Equal }), Verdict{Claim, Adopted}},
	"behind, different":       {marked(func(e *Evidence) { e.Tip, e.Adopt, e.Content = TipFollows, AdoptEqual, Different }), Verdict{Halt, Behind}},
	"behind, with its own":    {marked(func(e *Evidence) { e.Tip, e.OwnChanges = TipFollows, true }), Verdict{Halt, Diverged}},
	"behind, unproven":        {marked(func(e *Evidence) { e.Tip, e.Proof = TipFollows, Unproven }), Verdict{Halt, Diverged}},
	"behind, overwrite":       {marked(func(e *Evidence) { e.Tip, e.Overwrite = TipFollows, true }), Verdict{Resync, Overwritten}},
	"rewound, and others on":  {marked(func(e *Evidence) { e.Tip, e.Rewound, e.Proof = TipFollows, true, Unproven }), Verdict{Halt, Diverged}},
	"restored, and others on": {marked(func(e *Evidence) { e.Tip, e.Restored = TipFollows, true }), Verdict{Halt, Behind}},

	// The replica is empty.
	"first":               {stranger(func(e *Evidence) { e.Tip = TipNone }), Verdict{Begin, EmptyReplica}},
	"emptied":             {marked(func(e *Evidence) { e.Tip = TipNone }), Verdict{Begin, EmptyReplica}},
	"emptied, for a copy": {marked(func(e *Evidence) { e.Tip, e.Record = TipNone, Copied }), Verdict{Begin, EmptyReplica}},
	"emptied, lost":       {marked(func(e *Evidence) { e.Tip, e.Proof = TipNone, DiskLost }), Verdict{Begin, EmptyReplica}},
}

func TestJudge(t *testing.T) {
	for name, test := range verdicts {
		if got := Judge(test.e); got != test.want {
			t.Errorf("%s: got action %d because %s, want %d because %s", name, got.Action, got.Why, test.want.Action, test.want.Why)
		}
	}
}

func TestBeforeOpen(t *testing.T) {
	behind := func(change func(*Evidence)) Evidence {
		return marked(func(e *Evidence) {
			e.Restore, e.Tip = RestoreIfBehind, TipFollows
			if change != nil {
				change(e)
			}
		})
	}
	missing := func(r Restore, tip Tip) Evidence { return Evidence{Restore: r, Tip: tip} }
	for name, test := range map[string]struct {
		e    Evidence
		want Verdict
	}{
		"missing, never":          {missing(RestoreNever, TipUnknown), Verdict{Open, NotAsked}},
		"missing":                 {missing(RestoreIfMissing, TipUnknown), Verdict{AskReplica, Missing}},
		"missing, no replica":     {missing(RestoreIfMissing, TipNone), Verdict{Open, NotAsked}},
		"missing, a replica":      {missing(RestoreIfMissing, TipForeign), Verdict{Replace, Missing}},
		"missing, if-behind":      {missing(RestoreIfBehind, TipForeign), Verdict{Replace, Missing}},
		"there, if-missing":       {behind(func(e *Evidence) { e.Restore = RestoreIfMissing }), Verdict{Open, NotAsked}},
		"behind":                  {behind(nil), Verdict{Replace, Behind}},
		"behind, not asked yet":   {behind(func(e *Evidence) { e.Tip = TipUnknown }), Verdict{AskReplica, Behind}},
		"up to date":              {behind(func(e *Evidence) { e.Tip = TipMarked }), Verdict{Open, NotAsked}},
		"no replica":              {behind(func(e *Evidence) { e.Tip = TipNone }), Verdict{Open, NotAsked}},
		"another history":         {behind(func(e *Evidence) { e.Tip = TipForeign }), Verdict{Open, NotAsked}},
		"behind, with its own":    {behind(func(e *Evidence) { e.OwnChanges = true }), Verdict{Open, NotAsked}},
		"behind, unproven":        {behind(func(e *Evidence) { e.Proof, e.OwnChanges = Unproven, true }), Verdict{Compare, Behind}},
		"unproven, not asked yet": {behind(func(e *Evidence) { e.Proof, e.Tip = Unproven, TipUnknown }), Verdict{AskReplica, Behind}},
		"unproven, equal":         {behind(func(e *Evidence) { e.Proof, e.OwnChanges, e.Content = Unproven, true, Equal }), Verdict{Replace, Behind}},
		"unproven, different":     {behind(func(e *Evidence) { e.Proof, e.Content = Unproven, Different }), Verdict{Open, NotAsked}},
		"unproven, up to date":    {behind(func(e *Evidence) { e.Proof, e.Tip = Unproven, TipMarked }), Verdict{Open, NotAsked}},
		"behind, another's state": {behind(func(e *Evidence) { e.Record = Copied }), Verdict{Open, NotAsked}},
		"behind, no state":        {behind(func(e *Evidence) { e.Record = NoRecord }), Verdict{Open, NotAsked}},
		"rewound, others went on": {behind(func(e *Evidence) { e.Rewound = true }), Verdict{Open, NotAsked}},
		"lost":                    {behind(func(e *Evidence) { e.Proof, e.Tip = DiskLost, TipHoldsLoss }), Verdict{Replace, LostCommits}},
		"lost, not asked yet":     {behind(func(e *Evidence) { e.Proof, e.Tip = DiskLost, TipUnknown }), Verdict{AskReplica, LostCommits}},
		"lost nothing it has":     {behind(func(e *Evidence) { e.Proof, e.Tip = DiskLost, TipMarked }), Verdict{Open, NotAsked}},
	} {
		if got := BeforeOpen(test.e); got != test.want {
			t.Errorf("%s: got action %d because %s, want %d because %s", name, got.Action, got.Why, test.want.Action, test.want.Why)
		}
	}
}

// A verdict requests evidence only if it is missing, so judging again ends.
func TestJudgeEnds(t *testing.T) {
	for n := range 4 * 3 * 6 * 2 * 3 * 32 {
		i := n
		next := func(of int) int { v := i % of; i /= of; return v }
		e := Evidence{Exists: true, Record: Record(next(4)), Proof: Proof(next(3)), Tip: Tip(next(6)), Content: Content(1 + next(2)), Adopt: Adopt(next(3))}
		e.Restored, e.Rewound, e.OwnChanges, e.OurNode, e.Overwrite = next(2) == 1, next(2) == 1, next(2) == 1, next(2) == 1, next(2) == 1
		v := Judge(e)
		if v.Action < Begin {
			t.Errorf("%+v: action %d", e, v.Action)
		}
		// A database that does not hold the tip continues only with the user's consent.
		if goesOn := v.Action == Continue || v.Action == Claim || v.Action == Resync; goesOn && e.Content == Different && e.Tip == TipForeign && !e.Overwrite {
			t.Errorf("%+v goes on: %s", e, v.Why)
		}
	}
}
