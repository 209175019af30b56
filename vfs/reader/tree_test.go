package reader

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

// interiorPage returns an interior page of a table's b-tree.
func interiorPage(pgno uint32, children []uint32) []byte {
	page := make([]byte, 4096)
	b := page
	if pgno == 1 {
		b = page[100:]
	}
	b[0] = 5
	last := len(children) - 1
	binary.BigEndian.PutUint16(b[3:], uint16(last))
	binary.BigEndian.PutUint32(b[8:], children[last])
	for i, child := range children[:last] {
		at := len(page) - 5*(i+1)
		binary.BigEndian.PutUint16(b[12+2*i:], uint16(at))
		binary.BigEndian.PutUint32(page[at:], child)
	}
	return page
}

// testTree is a b-tree of three levels on scattered pages.
type testTree struct {
	root   uint32
	pages  map[uint32][]byte // interior
	leaves []uint32          // in order
}

func newTestTree(rng *rand.Rand, width, fanout int) *testTree {
	numbers := rng.Perm(10 * width * fanout)
	take := func() uint32 {
		n := numbers[0]
		numbers = numbers[1:]
		return uint32(n)*3 + 2 // never consecutive
	}
	tree := &testTree{root: take(), pages: map[uint32][]byte{}}
	var middle []uint32
	for range width {
		var children []uint32
		for range fanout {
			children = append(children, take())
		}
		tree.leaves = append(tree.leaves, children...)
		middle = append(middle, take())
		tree.pages[middle[len(middle)-1]] = interiorPage(2, children)
	}
	tree.pages[tree.root] = interiorPage(2, middle)
	return tree
}

// A testReader is a connection that reads pages of a tree. It counts the pages it waits
// for.
type testReader struct {
	stream
	tree    *testTree
	most    int
	there   map[uint32]bool // fetched
	waited  int
	fetched int
	twice   int
	asked   int // number of fetches
}

func (r *testReader) load(pgno uint32) []byte {
	if !r.there[pgno] {
		return nil
	}
	return r.tree.pages[pgno]
}

func (r *testReader) fetch(want []uint32) {
	if len(want) > 0 {
		r.asked++
	}
	for _, pgno := range want {
		if r.there[pgno] {
			r.twice++
		}
		r.there[pgno] = true
		r.fetched++
	}
}

func (r *testReader) read(pgno uint32) {
	want := r.visit(pgno, r.most, r.load)
	if !r.there[pgno] {
		r.waited++
		r.there[pgno] = true
	}
	r.fetch(want)
	if page := r.tree.pages[pgno]; page != nil {
		r.fetch(r.learn(pgno, page))
	}
}

func newTestReader(tree *testTree, most int) *testReader {
	return &testReader{tree: tree, most: most, there: map[uint32]bool{}}
}

// A scan in the order of a key waits for a few pages at its beginning, wherever its pages
// are, and fetches each page once.
func TestScansReadAhead(t *testing.T) {
	for _, most := range []int{4, 300, 2000} {
		tree := newTestTree(rand.New(rand.NewPCG(1, 1)), 200, 100)
		r := newTestReader(tree, most)
		r.read(tree.root)
		for i, child := range childrenOf(2, tree.pages[tree.root]) {
			r.read(child)
			for _, leaf := range tree.leaves[100*i : 100*(i+1)] {
				r.read(leaf)
			}
		}
		all := len(tree.leaves) + len(tree.pages)
		if r.fetched+r.waited > all+20 || r.twice > 20 {
			t.Errorf("window %d: %d fetched, %d twice, %d waited for, of %d", most, r.fetched, r.twice, r.waited, all)
		}
		if limit := map[int]int{4: 410, 300: 12, 2000: 12}[most]; r.waited > limit {
			t.Errorf("window %d: waited for %d of %d pages", most, r.waited, all)
		}
	}
}

// Two concurrent scans, such as those of a join, both read ahead.
func TestTwoScansReadAhead(t *testing.T) {
	tree := newTestTree(rand.New(rand.NewPCG(1, 2)), 4, 400)
	r := newTestReader(tree, 300)
	r.read(tree.root)
	middle := childrenOf(2, tree.pages[tree.root])
	r.read(middle[0])
	r.read(middle[2])
	for i := range 400 {
		r.read(tree.leaves[i])
		r.read(tree.leaves[800+i])
	}
	if r.waited > 10 {
		t.Errorf("waited for %d pages", r.waited)
	}
}

// Lookups of scattered rows fetch only the pages that they read.
func TestLookupsReadNothingAhead(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 3))
	tree := newTestTree(rng, 50, 100)
	r := newTestReader(tree, 300)
	r.read(tree.root)
	for range 300 {
		i := rng.IntN(50)
		r.read(childrenOf(2, tree.pages[tree.root])[i])
		r.read(tree.leaves[100*i+rng.IntN(99)/3*3])
	}
	if r.fetched > 5 {
		t.Errorf("%d pages were read ahead", r.fetched)
	}
}

// The whole schema is fetched at once, however deep its b-tree is.
func TestSchemaIsFetchedAtOnce(t *testing.T) {
	var s stream
	if got := s.learn(1, interiorPage(1, []uint32{10, 30, 20})); !slices.Equal(got, []uint32{10, 30, 20}) {
		t.Errorf("children of page 1: %v", got)
	}
	if got := s.learn(30, interiorPage(30, []uint32{7, 5})); !slices.Equal(got, []uint32{7, 5}) {
		t.Errorf("children below: %v", got)
	}
	if got := s.learn(99, interiorPage(99, []uint32{8, 9})); got != nil {
		t.Errorf("children elsewhere: %v", got)
	}
}

// Pages of no b-tree, such as those of large values, are read ahead after some were read
// in order.
func TestRunsReadAhead(t *testing.T) {
	r := newTestReader(&testTree{}, 100)
	for pgno := uint32(1000); pgno < 5000; pgno++ {
		r.read(pgno)
	}
	if r.waited > 5 || r.twice > 0 || r.fetched > 4300 || r.asked > 100 {
		t.Errorf("waited for %d pages, fetched %d, %d twice, asked %d times", r.waited, r.fetched, r.twice, r.asked)
	}
}

// Garbage is not an interior page.
func FuzzChildren(f *testing.F) {
	f.Add(interiorPage(1, []uint32{3, 4}), uint32(1))
	f.Add(interiorPage(2, []uint32{3, 4, 5}), uint32(2))
	f.Fuzz(func(t *testing.T, page []byte, pgno uint32) {
		full := make([]byte, 512)
		copy(full, page)
		childrenOf(pgno, full)
	})
}

// A scan of scattered pages asks for no more pages than can be fetched at once.
func TestSparseScansAskForFewPages(t *testing.T) {
	tree := newTestTree(rand.New(rand.NewPCG(1, 4)), 4, 400)
	r := newTestReader(tree, 2000)
	r.read(tree.root)
	r.read(childrenOf(2, tree.pages[tree.root])[0])
	for _, leaf := range tree.leaves[:300] {
		r.read(leaf)
	}
	if ahead := r.fetched + r.waited - 302; ahead > connections+3 {
		t.Errorf("%d pages ahead", ahead)
	}
}
