package wal

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"testing"
)

// A history is a database and the changes in its WAL.
type history struct {
	print  *Fingerprint
	states map[int][]string // by boundary: the content of each page
}

// randomHistory returns a database file of some pages and a WAL of some transactions.
func randomHistory(rng *rand.Rand) history {
	f := &Fingerprint{seed: maphash.MakeSeed()}
	hash := func(s string) uint64 { return maphash.String(f.seed, s) }
	f.zero = hash("zero")
	state := make([]string, 1+rng.IntN(5))
	for i := range state {
		state[i] = fmt.Sprint("file ", i)
		f.file = append(f.file, hash(state[i]))
	}
	h := history{print: f, states: map[int][]string{0: append([]string(nil), state...)}}
	all := append(state, "zero", "zero", "zero", "zero", "zero", "zero") // also beyond the end
	for size := len(state); rng.IntN(6) > 0 && size < len(all); size = max(1, size+rng.IntN(3)-1) {
		state = all[:size]
		for n := 1 + rng.IntN(3); n > 0; n-- {
			page := rng.IntN(size)
			state[page] = fmt.Sprint("content ", rng.IntN(3)) // some contents come back
			fr := frame{page: uint32(page + 1), hash: hash(state[page])}
			if n == 1 {
				fr.commit = uint32(size)
			}
			f.frames = append(f.frames, fr)
		}
		h.states[len(f.frames)] = append([]string(nil), state...)
	}
	h.checkpoint(rng)
	return h
}

// checkpoint copies some of the frames to the file.
func (h history) checkpoint(rng *rand.Rand) {
	f := h.print
	if len(f.frames) == 0 {
		return
	}
	f.copied = uint32(rng.IntN(len(f.frames) + 1))
	skip := uint32(rng.IntN(3)) // pages that it has not reached
	for _, fr := range f.frames[:f.copied] {
		if skip > 0 && fr.page%3 == skip {
			continue
		}
		for len(f.file) < int(fr.page) {
			f.file = append(f.file, f.zero)
		}
		f.file[fr.page-1] = fr.hash
	}
}

// hidden reports whether a checkpoint has, or may have, overwritten the content of a page
// at a boundary.
func (h history) hidden(at int) bool {
	first := map[uint32]bool{}
	for i, fr := range h.print.frames {
		if !first[fr.page] && i+1 > at && i < int(h.print.copied) {
			for _, other := range h.print.frames[:h.print.copied] {
				if other.page == fr.page && h.print.fileHas(fr.page, other.hash) {
					return true
				}
			}
		}
		first[fr.page] = true
	}
	return false
}

func compare(f *Fingerprint, content []string, last, filePages int) string {
	c := f.Compare(0, uint32(last), uint32(filePages))
	for i, page := range content {
		if !c.Page(uint32(i+1), []byte(page)) {
			break
		}
	}
	return c.Differs(uint32(len(content)))
}

// A database equals each of its states at a boundary, and no other state.
func TestComparison(t *testing.T) {
	equal, hidden, differ := 0, 0, 0
	for seed := range uint64(20000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		h := randomHistory(rng)
		last, filePages := len(h.print.frames), len(h.states[0])
		held := map[string]bool{}
		for n := range h.states {
			held[fmt.Sprint(len(h.states[n]), h.states[n])] = true
		}
		for n, state := range h.states {
			if h.hidden(n) {
				hidden++
			} else if got := compare(h.print, state, last, filePages); got != "" {
				t.Fatalf("seed %d: at frame %d: %s", seed, n, got)
			} else {
				equal++
			}
			// Mix two boundaries, or change one page.
			mixed := append([]string(nil), state...)
			for m := range h.states {
				if i := rng.IntN(len(mixed)); i < len(h.states[m]) && rng.IntN(2) == 0 {
					mixed[i] = h.states[m][i]
				}
			}
			if rng.IntN(3) == 0 {
				mixed[rng.IntN(len(mixed))] = "foreign"
			}
			if got := compare(h.print, mixed, last, filePages); got == "" && !held[fmt.Sprint(len(mixed), mixed)] {
				t.Fatalf("seed %d: %q passes for one of %v", seed, mixed, h.states)
			} else if got != "" {
				differ++
			}
		}
	}
	if equal < 1000 || hidden < 1000 || differ < 1000 {
		t.Errorf("only %d are equal, %d are hidden, and %d differ", equal, hidden, differ)
	}
}

// Pages that a checkpoint may have overwritten prove nothing, and commits after the last
// boundary do not count.
func TestComparisonBounds(t *testing.T) {
	f := &Fingerprint{seed: maphash.MakeSeed()}
	hash := func(s string) uint64 { return maphash.String(f.seed, s) }
	f.frames = []frame{{page: 2, commit: 2, hash: hash("c")}, {page: 1, commit: 2, hash: hash("d")}}
	for _, test := range []struct {
		file                string
		copied, first, last uint32
		content             []string
		equal               bool
	}{
		{"ab", 0, 0, 2, []string{"a", "b"}, true},
		{"ab", 0, 0, 2, []string{"a", "c"}, true},
		{"ab", 0, 0, 2, []string{"d", "c"}, true},
		{"ab", 0, 0, 2, []string{"d", "b"}, false},
		{"ab", 0, 0, 1, []string{"a", "c"}, true},
		{"ab", 0, 0, 1, []string{"d", "c"}, false},
		{"ab", 0, 0, 0, []string{"a", "b"}, true},
		{"ab", 0, 0, 0, []string{"a", "c"}, false},
		{"ab", 0, 1, 2, []string{"a", "b"}, false},
		{"ab", 0, 1, 2, []string{"a", "c"}, true},
		{"ab", 0, 2, 2, []string{"a", "c"}, false},
		{"ab", 0, 2, 2, []string{"d", "c"}, true},
		{"ab", 2, 0, 2, []string{"a", "b"}, true}, // as after a recovery: no frame was copied
		{"ac", 1, 0, 2, []string{"a", "b"}, false},
		{"ac", 1, 0, 2, []string{"a", "c"}, true},
		{"ac", 1, 0, 0, []string{"a", "c"}, false},
		{"dc", 2, 0, 2, []string{"a", "c"}, false},
		{"dc", 2, 0, 2, []string{"d", "c"}, true},
		{"ab", 0, 0, 2, []string{"a"}, false},
		{"ab", 0, 0, 2, []string{"a", "b", "zero"}, false},
	} {
		f.copied, f.file = test.copied, []uint64{hash(test.file[:1]), hash(test.file[1:])}
		c := f.Compare(test.first, test.last, 2)
		for i, page := range test.content {
			c.Page(uint32(i+1), []byte(page))
		}
		if got := c.Differs(uint32(len(test.content))); (got == "") != test.equal {
			t.Errorf("%+v: %q", test, got)
		}
	}
}
