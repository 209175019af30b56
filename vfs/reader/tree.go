package reader

import (
	"encoding/binary"
	"slices"
)

// A stream follows how a connection reads the database. It predicts the pages that SQLite
// reads next: the children of page 1, because SQLite reads the whole schema; the next
// children of an interior page of a b-tree, after two were read in order; and the next
// pages, after some were read in order, such as those of a large value.
//
// https://sqlite.org/fileformat2.html#b_tree_pages
type stream struct {
	nodes  map[uint32]*node
	recent []uint32 // nodes, in the order in which they were read
	scans  []*scan  // most recently used first

	last uint32 // the page read last
	run  int    // how many pages were read in order
	end  uint32 // the page up to which a run is read ahead
}

const (
	mostNodes = 64
	mostScans = 4
	mostRoots = 512 // children of page 1 fetched at once
)

// A node is an interior page.
type node struct {
	pgno     uint32
	children []uint32
	parent   *node // nil if it is unknown, or a root
	at       int   // index in the parent's children
	schema   bool
	upper    bool // the children are interior pages
}

// dense reports whether most children are consecutive pages of the database.
func (n *node) dense() bool {
	following := 0
	for i, pgno := range n.children[1:] {
		if pgno == n.children[i]+1 {
			following++
		}
	}
	return following > len(n.children)/2
}

// A scan is an ordered walk through the leaves of a b-tree.
type scan struct {
	node   *node
	at     int // index in the node's children of the page read last
	read   int // pages read
	window int // how many pages to read ahead; 0 until two were read in order

	front *node // the node of the next page to fetch
	next  int   // the index of that page in its children
	out   int   // pages requested and not yet read

	above *node // the node of the next interior page to fetch
	done  int   // the index of that page in its children
	inner int   // how many interior pages were requested after the front
}

const (
	// denseWindow is the size in pages of a scan's first window, if most of its pages are
	// consecutive, so that few requests fetch them. The window grows by denseGrowth each
	// time: 1,000 rows of a kilobyte are in the third window. A scan of scattered pages
	// continues as quickly after some requests, and begins with a smaller window.
	denseWindow, denseGrowth   = 32, 4
	sparseWindow, sparseGrowth = 4, 2

	// longScan is the window, in pages, from which on interior pages are fetched before a
	// scan reaches them.
	longScan = 64

	// mostRefill is how many pages of a window are fetched again at once, or half of a
	// smaller window: so a large window stays nearly full.
	mostRefill = 512
)

// visit records that a page is about to be read, and returns the pages to fetch with it.
// Load returns a page that needs no request; the page is valid until the next call. Most
// bounds a window.
func (s *stream) visit(pgno uint32, most int, load func(pgno uint32) []byte) (want []uint32) {
	if s.nodes[pgno] != nil {
		return nil
	}
	for i, sc := range s.scans {
		switch s.step(sc, pgno) {
		case stepOn:
			s.scans = append([]*scan{sc}, slices.Delete(s.scans, i, i+1)...)
			s.last, s.run = pgno, 0
			return s.ahead(sc, most, load)
		case stepDown:
			return nil
		}
	}
	for _, n := range s.nodes {
		if i := slices.Index(n.children, pgno); i >= 0 && !n.schema {
			if !n.upper {
				s.scans = append([]*scan{{node: n, at: i}}, s.scans[:min(len(s.scans), mostScans-1)]...)
			}
			s.last, s.run = pgno, 0
			return nil
		}
	}
	return s.inOrder(pgno, most)
}

// scanned returns how many pages a scan has read if it read the last page, and otherwise
// 0.
func (s *stream) scanned() int {
	if len(s.scans) == 0 || s.scans[0].node.children[s.scans[0].at] != s.last {
		return 0
	}
	return s.scans[0].read
}

type step int

const (
	stepOff  step = iota // the page is not part of the scan
	stepOn               // the page is the next leaf
	stepDown             // the page is an interior page on the way to the next leaf
)

func (s *stream) step(sc *scan, pgno uint32) step {
	if i := sc.at + 1; i < len(sc.node.children) {
		if sc.node.children[i] != pgno {
			return stepOff
		}
		sc.at = i
		sc.read++
		return stepOn
	}
	sibling, way := s.sibling(sc.node, nil)
	switch {
	case way == pgno:
		return stepDown
	case sibling != nil && sibling.children[0] == pgno:
		sc.node, sc.at = sibling, 0
		sc.read++
		return stepOn
	}
	return stepOff
}

// sibling returns the interior page that follows n at the same height. If that page is
// unknown, way is the page that leads to it.
func (s *stream) sibling(n *node, load func(uint32) []byte) (next *node, way uint32) {
	up, at := n.parent, n.at+1
	if up == nil {
		return nil, 0
	}
	if at == len(up.children) {
		if up, way = s.sibling(up, load); up == nil {
			return nil, way
		}
		at = 0
	}
	pgno := up.children[at]
	if next = s.nodes[pgno]; next == nil && load != nil {
		if page := load(pgno); page != nil {
			next = s.add(pgno, childrenOf(pgno, page), up, at)
		}
	}
	if next == nil {
		return nil, pgno
	}
	return next, 0
}

// ahead returns the pages to fetch for a scan that continues. It fetches a part of a
// window after as many pages of it were read.
func (s *stream) ahead(sc *scan, most int, load func(uint32) []byte) (want []uint32) {
	sc.out = max(0, sc.out-1)
	if sc.window == 0 {
		sc.out = 0
	}
	if sc.out > sc.window-min(mostRefill, sc.window/2) {
		return nil
	}
	if sc.out == 0 {
		sc.front, sc.next, sc.above = sc.node, sc.at+1, nil
	}
	first, growth := sparseWindow, sparseGrowth
	if sc.node.dense() {
		first, growth = denseWindow, denseGrowth
	} else {
		most = min(most, connections) // each page is a request: further pages would wait
	}
	sc.window = min(max(first, growth*sc.window), max(1, most))
	want = s.siblings(sc, load)
	for sc.out < sc.window {
		if sc.next == len(sc.front.children) {
			next, way := s.sibling(sc.front, load)
			if next == nil {
				if way != 0 {
					want = append(want, way)
				}
				return want
			}
			sc.front, sc.next = next, 0
			sc.inner--
		}
		want = append(want, sc.front.children[sc.next])
		sc.next++
		sc.out++
	}
	return want
}

// siblings returns the interior pages that a long scan reaches within a window after the
// front.
func (s *stream) siblings(sc *scan, load func(uint32) []byte) (want []uint32) {
	if sc.front.parent == nil || sc.window < longScan {
		return nil
	}
	if sc.above == nil || sc.inner < 0 {
		sc.above, sc.done, sc.inner = sc.front.parent, sc.front.at+1, 0
	}
	for sc.inner < (sc.next+sc.window)/len(sc.front.children) {
		if sc.done == len(sc.above.children) {
			next, way := s.sibling(sc.above, load)
			if next == nil {
				if way != 0 {
					want = append(want, way)
				}
				return want
			}
			sc.above, sc.done = next, 0
		}
		want = append(want, sc.above.children[sc.done])
		sc.done++
		sc.inner++
	}
	return want
}

// inOrder returns the pages to fetch after a page of no known b-tree.
func (s *stream) inOrder(pgno uint32, most int) (want []uint32) {
	if pgno != s.last+1 {
		s.last, s.run, s.end = pgno, 0, pgno
		return nil
	}
	s.last = pgno
	s.run++
	if s.run < 2 || s.end > pgno+uint32(min(s.run, most))/2 {
		return nil
	}
	from := max(s.end, pgno) + 1
	s.end = pgno + uint32(min(2*s.run, most))
	for ; from <= s.end; from++ {
		want = append(want, from)
	}
	return want
}

// learn adds a page if it is an interior page, and returns the pages to fetch now.
func (s *stream) learn(pgno uint32, page []byte) (want []uint32) {
	children := childrenOf(pgno, page)
	if children == nil || s.nodes[pgno] != nil {
		return nil
	}
	var up *node
	at := 0
	for _, n := range s.nodes {
		if at = slices.Index(n.children, pgno); at >= 0 {
			up = n
			break
		}
	}
	if up != nil { // ordered lookups of scattered rows are not a scan
		up.upper = true
		s.scans = slices.DeleteFunc(s.scans, func(sc *scan) bool { return sc.node == up })
	}
	if n := s.add(pgno, children, up, at); n.schema {
		return children[:min(len(children), mostRoots)]
	}
	return nil
}

// add adds an interior page, and forgets the least recently used page. A page's ancestors
// are used with it.
func (s *stream) add(pgno uint32, children []uint32, up *node, at int) *node {
	if len(children) == 0 {
		return nil
	}
	n := &node{pgno: pgno, children: children, parent: up, at: at, schema: pgno == 1}
	if s.nodes == nil {
		s.nodes = map[uint32]*node{}
	}
	if up != nil {
		n.schema = up.schema
	}
	for ; up != nil; up = up.parent {
		if i := slices.Index(s.recent, up.pgno); i >= 0 {
			s.recent = append(slices.Delete(s.recent, i, i+1), up.pgno)
		}
	}
	if len(s.recent) == mostNodes {
		delete(s.nodes, s.recent[0])
		s.recent = s.recent[1:]
	}
	s.nodes[pgno] = n
	s.recent = append(s.recent, pgno)
	return n
}

// childrenOf returns the children of an interior page, in order; nil for any other page.
func childrenOf(pgno uint32, page []byte) []uint32 {
	const interiorIndex, interiorTable, headerSize = 2, 5, 12
	b := page
	if pgno == 1 {
		b = page[100:]
	}
	if b[0] != interiorIndex && b[0] != interiorTable {
		return nil
	}
	cells := int(binary.BigEndian.Uint16(b[3:]))
	if headerSize+2*cells > len(b) {
		return nil
	}
	children := make([]uint32, 0, cells+1)
	for i := range cells {
		at := int(binary.BigEndian.Uint16(b[headerSize+2*i:]))
		if at+4 > len(page) {
			return nil
		}
		children = append(children, binary.BigEndian.Uint32(page[at:]))
	}
	return append(children, binary.BigEndian.Uint32(b[8:]))
}
