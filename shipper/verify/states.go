package verify

import (
	"iter"

	"github.com/walvfs/walvfs/format"
)

// pageState is the known state of a page: unknown at first.
type pageState struct {
	hash    pageHash
	known   bool
	changed format.TXID // not before this TXID, if not 0
}

// pageStates are the states of a database's pages. They take memory only for pages that
// files have, whatever their numbers are.
type pageStates map[uint32]*[statesEach]pageState // by number / statesEach

// statesEach is how many pages share a group of states: enough that a map of groups costs
// little, and few enough that a single page does, too.
const statesEach = 16

// at returns the state of a page.
func (s pageStates) at(number uint32) *pageState {
	group := s[number/statesEach]
	if group == nil {
		group = new([statesEach]pageState)
		s[number/statesEach] = group
	}
	return &group[number%statesEach]
}

// all yields the pages that may be known, in no order.
func (s pageStates) all() iter.Seq2[uint32, *pageState] {
	return func(yield func(uint32, *pageState) bool) {
		for base, group := range s {
			for i := range group {
				if !yield(base*statesEach+uint32(i), &group[i]) {
					return
				}
			}
		}
	}
}

// cut forgets the pages after a page number.
func (s pageStates) cut(last uint32) {
	for base, group := range s {
		switch first := base * statesEach; {
		case first > last:
			delete(s, base)
		case first+statesEach-1 > last:
			clear(group[last-first+1:])
		}
	}
}
