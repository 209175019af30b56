package diff

import (
	"context"
	"encoding/binary"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/vfs/reader"
)

// A side is one of the two states.
type side struct {
	db     *sqlite3.Conn
	state  *reader.State
	usable int    // bytes of a page that SQLite uses
	free   uint32 // first trunk of the freelist
	vacuum bool   // the database has pointer maps
}

// open parses the database header:
// https://sqlite.org/fileformat2.html#the_database_header
func (s *side) open(ctx context.Context) (err error) {
	if s.state, err = reader.StateOf(s.db); err != nil {
		return err
	}
	page, err := s.state.Page(ctx, 1)
	if err != nil {
		return err
	}
	s.usable = s.state.PageSize() - int(page[20])
	s.free = binary.BigEndian.Uint32(page[32:])
	s.vacuum = binary.BigEndian.Uint32(page[52:]) != 0
	return nil
}

// each calls fn with pages in the given order, and fetches the following pages meanwhile.
func (s *side) each(ctx context.Context, pgnos []uint32, fn func(pgno uint32, page []byte) error) error {
	for len(pgnos) > 0 {
		n := s.state.Fetch(pgnos)
		for _, pgno := range pgnos[:n] {
			page, err := s.state.Page(ctx, pgno)
			if err == nil {
				err = fn(pgno, page)
			}
			if err != nil {
				return err
			}
		}
		pgnos = pgnos[n:]
	}
	return nil
}

// node reads a page of a table's b-tree.
func (s *side) node(pgno uint32, page []byte) (node, error) {
	n, ok := parseTable(pgno, page, s.usable)
	if !ok {
		return n, corrupt("page %d of TXID %s is in the b-tree of a table, but is none of one", pgno, s.state.TXID())
	}
	return n, nil
}

// height returns how many levels are below the root of a table.
func (s *side) height(ctx context.Context, root uint32) (h int, err error) {
	for pgno := root; ; h++ {
		page, err := s.state.Page(ctx, pgno)
		if err != nil {
			return 0, err
		}
		n, err := s.node(pgno, page)
		if err != nil || n.leaf {
			return h, err
		}
		if h == mostHeight {
			return 0, corrupt("the b-tree at page %d of TXID %s has no leaves", root, s.state.TXID())
		}
		pgno = n.children[0]
	}
}

// mostHeight is more than SQLite's own limit of 20 levels.
const mostHeight = 40

// pointerMap returns the page with the pointer map entry of a page, and whether the page
// itself is such a page.
//
// https://sqlite.org/fileformat2.html#pointer_map_or_ptrmap_pages
func (s *side) pointerMap(pgno uint32) (at uint32, itself bool) {
	if !s.vacuum || pgno < 2 {
		return 0, false
	}
	span := uint32(s.usable/5 + 1)
	at = (pgno-2)/span*span + 2
	if at == format.LockPage(uint32(s.state.PageSize())) {
		at++
	}
	return at, at == pgno
}

// freelist returns the pages of the freelist.
//
// https://sqlite.org/fileformat2.html#the_freelist
func (s *side) freelist(ctx context.Context) (*roaring.Bitmap, error) {
	free := roaring.New()
	for trunk := s.free; trunk != 0; {
		page, err := s.state.Page(ctx, trunk)
		if err != nil {
			return nil, err
		}
		if !free.CheckedAdd(trunk) {
			return nil, corrupt("the freelist of TXID %s has page %d twice", s.state.TXID(), trunk)
		}
		leaves := int(binary.BigEndian.Uint32(page[4:]))
		if leaves > s.usable/4-2 {
			return nil, corrupt("page %d of TXID %s is in the freelist, but is none of it", trunk, s.state.TXID())
		}
		for i := range leaves {
			free.Add(binary.BigEndian.Uint32(page[8+4*i:]))
		}
		trunk = binary.BigEndian.Uint32(page)
	}
	return free, nil
}

// next returns the page that follows an overflow page in its row.
func next(page []byte) uint32 { return binary.BigEndian.Uint32(page) }
