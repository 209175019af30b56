package diff

import (
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"
)

// Any bytes may look like a page of a b-tree, such as old content in the freelist.
// Parsing them reads nothing outside the page.
func TestParseAnyPage(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		usable := rapid.IntRange(480, 512).Draw(rt, "usable")
		pgno := rapid.Uint32Range(1, 2).Draw(rt, "page")
		page := rapid.SliceOfN(rapid.Byte(), 512, 512).Draw(rt, "bytes")
		at := header(pgno)
		page[at] = rapid.SampledFrom([]byte{interiorIndex, interiorTable, leafIndex, leafTable}).Draw(rt, "type")
		count := rapid.IntRange(0, 8).Draw(rt, "cells")
		binary.BigEndian.PutUint16(page[at+3:], uint16(count))
		for i := range count {
			binary.BigEndian.PutUint16(page[at+12+2*i:], uint16(rapid.IntRange(0, 600).Draw(rt, "cell")))
			binary.BigEndian.PutUint16(page[at+8+2*i:], uint16(rapid.IntRange(100, 511).Draw(rt, "cell")))
		}
		if n, ok := parseTable(pgno, page, usable); ok {
			probeOf(pgno, n)
			for _, c := range n.cells {
				if len(c.bytes) > usable || c.rest < 0 {
					rt.Fatalf("a row of %d bytes, %d elsewhere", len(c.bytes), c.rest)
				}
			}
		}
		indexChildren(pgno, page, usable)
		if pgno > 1 {
			for _, tl := range indexTails(page, usable) {
				if tl.rest <= 0 {
					rt.Fatalf("a tail of %d bytes", tl.rest)
				}
			}
		}
	})
}
