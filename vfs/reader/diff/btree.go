package diff

import (
	"encoding/binary"
	"fmt"

	"github.com/walvfs/walvfs/format"
)

// Types of b-tree pages: https://sqlite.org/fileformat2.html#b_tree_pages
const (
	interiorIndex = 2
	interiorTable = 5
	leafIndex     = 10
	leafTable     = 13
)

// A node is a page of a table's b-tree.
type node struct {
	leaf     bool
	children []uint32 // of an interior page; each but the last has a key
	keys     []int64  // of an interior page: the largest key below a child
	cells    []cell   // of a leaf, by key
}

// A cell is a row on a leaf.
type cell struct {
	key      int64
	bytes    []byte // the part of the row on the leaf
	overflow uint32 // the first page of the rest, 0 if there is none
	rest     int64  // bytes on overflow pages
}

// header returns where the header of a b-tree page begins.
func header(pgno uint32) int {
	if pgno == 1 {
		return 100
	}
	return 0
}

// pageType returns the type of a page, if it is a page of a b-tree.
func pageType(pgno uint32, page []byte) byte { return page[header(pgno)] }

// parseTable parses a page of a table's b-tree. It reports false if the page cannot be
// one; page may hold any bytes.
func parseTable(pgno uint32, page []byte, usable int) (n node, ok bool) {
	at := header(pgno)
	size := 8
	switch page[at] {
	case leafTable:
		n.leaf = true
	case interiorTable:
		size = 12
	default:
		return n, false
	}
	count := int(binary.BigEndian.Uint16(page[at+3:]))
	if at+size+2*count > usable {
		return n, false
	}
	for i := range count {
		p := int(binary.BigEndian.Uint16(page[at+size+2*i:]))
		if p < at+size+2*count || p >= usable {
			return n, false
		}
		if n.leaf {
			c, ok := parseCell(page[p:usable], usable)
			if !ok {
				return n, false
			}
			n.cells = append(n.cells, c)
			continue
		}
		key, used := varint(page[min(p+4, usable):usable])
		if used == 0 {
			return n, false
		}
		n.children = append(n.children, binary.BigEndian.Uint32(page[p:]))
		n.keys = append(n.keys, int64(key))
	}
	if !n.leaf {
		n.children = append(n.children, binary.BigEndian.Uint32(page[at+8:]))
	}
	return n, true
}

// parseCell parses the cell at the beginning of b.
//
// https://sqlite.org/fileformat2.html#b_tree_cell_format
func parseCell(b []byte, usable int) (c cell, ok bool) {
	payload, n := varint(b)
	if n == 0 || payload > 1<<31 {
		return c, false
	}
	key, m := varint(b[n:])
	if m == 0 {
		return c, false
	}
	c.key = int64(key)
	local, end := localSize(int64(payload), usable), n+m
	c.rest = int64(payload) - local
	if end += int(local); c.rest > 0 {
		if end+4 > len(b) {
			return c, false
		}
		c.overflow = binary.BigEndian.Uint32(b[end:])
		end += 4
	}
	if end > len(b) {
		return c, false
	}
	c.bytes = b[:end]
	return c, true
}

// localSize returns how many bytes of a row are on its leaf.
func localSize(payload int64, usable int) int64 {
	u := int64(usable)
	if payload <= u-35 {
		return payload
	}
	least := (u-12)*32/255 - 23
	if local := least + (payload-least)%(u-4); local <= u-35 {
		return local
	}
	return least
}

// varint decodes a varint of SQLite, of n bytes; n is 0 if b holds no whole varint.
func varint(b []byte) (v uint64, n int) {
	for n < 8 {
		if n == len(b) {
			return 0, 0
		}
		v = v<<7 | uint64(b[n]&0x7f)
		n++
		if b[n-1] < 0x80 {
			return v, n
		}
	}
	if n == len(b) {
		return 0, 0
	}
	return v<<8 | uint64(b[8]), 9
}

// indexChildren returns the children of an interior page of an index's b-tree, and nil
// for any other page.
func indexChildren(pgno uint32, page []byte, usable int) (children []uint32) {
	at := header(pgno)
	if page[at] != interiorIndex {
		return nil
	}
	count := int(binary.BigEndian.Uint16(page[at+3:]))
	if at+12+2*count > usable {
		return nil
	}
	for i := range count {
		p := int(binary.BigEndian.Uint16(page[at+12+2*i:]))
		if p+4 > usable {
			return nil
		}
		children = append(children, binary.BigEndian.Uint32(page[p:]))
	}
	return append(children, binary.BigEndian.Uint32(page[at+8:]))
}

func corrupt(what string, args ...any) error {
	return fmt.Errorf("%w: %s", format.ErrCorrupt, fmt.Sprintf(what, args...))
}
