package restore

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/walvfs/walvfs/format"
)

// source is a database whose commits make a replica. It remembers its content at every
// TXID.
type source struct {
	t        *testing.T
	store    *memStore
	rnd      *rand.Rand
	pageSize uint32
	txid     format.TXID
	images   map[format.TXID][]byte
	dirty    map[format.TXID]map[uint32]bool
}

const testPageSize = 512

var firstCommit = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newSource(t *testing.T) *source {
	return &source{
		t:        t,
		store:    &memStore{objects: map[string][]byte{}},
		rnd:      rand.New(rand.NewPCG(1, 2)),
		pageSize: testPageSize,
		images:   map[format.TXID][]byte{},
		dirty:    map[format.TXID]map[uint32]bool{},
	}
}

// time returns the time of a TXID: one per second.
func (s *source) time(txid format.TXID) time.Time {
	return firstCommit.Add(time.Duration(txid-1) * time.Second)
}

func (s *source) pages(txid format.TXID) uint32 {
	return uint32(len(s.images[txid])) / s.pageSize
}

// commit sets the database's size in pages, changes some of them and ships a level 0
// file.
func (s *source) commit(pages uint32, changed ...uint32) {
	s.txid++
	img := make([]byte, pages*s.pageSize)
	copy(img, s.images[s.txid-1])
	for pgno := s.pages(s.txid-1) + 1; pgno <= pages; pgno++ {
		changed = append(changed, pgno)
	}
	s.dirty[s.txid] = map[uint32]bool{}
	for _, pgno := range changed {
		page := img[(pgno-1)*s.pageSize : pgno*s.pageSize]
		for i := range page { // random bytes: compression hides no flip
			page[i] = byte(s.rnd.Uint32())
		}
		s.dirty[s.txid][pgno] = true
	}
	s.images[s.txid] = img
	s.ship(format.LevelRaw, s.txid, s.txid)
}

// ship writes the file of a level that holds lo to hi.
func (s *source) ship(level int, lo, hi format.TXID) (key string) {
	set := map[uint32]bool{}
	for txid := lo; txid <= hi; txid++ {
		for pgno := range s.dirty[txid] {
			set[pgno] = pgno <= s.pages(hi)
		}
	}
	for pgno := uint32(1); lo == 1 && pgno <= s.pages(hi); pgno++ {
		set[pgno] = true
	}
	var pgnos []uint32
	for pgno, in := range set {
		if in {
			pgnos = append(pgnos, pgno)
		}
	}
	slices.Sort(pgnos)
	key = s.store.layout.Key(level, lo, hi)
	s.store.objects[key] = s.encode(lo, hi, pgnos)
	return key
}

func (s *source) encode(lo, hi format.TXID, pgnos []uint32) []byte {
	s.t.Helper()
	var b bytes.Buffer
	enc, err := format.NewEncoder(&b, format.LTXHeader{
		PageSize:  s.pageSize,
		Commit:    s.pages(hi),
		MinTXID:   lo,
		MaxTXID:   hi,
		Timestamp: s.time(hi).UnixMilli(),
	})
	for _, pgno := range pgnos {
		if err == nil {
			err = enc.Page(pgno, s.images[hi][(pgno-1)*s.pageSize:pgno*s.pageSize])
		}
	}
	if err == nil {
		_, err = enc.Close()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return b.Bytes()
}

// drop removes a file.
func (s *source) drop(level int, lo, hi format.TXID) {
	delete(s.store.objects, s.store.layout.Key(level, lo, hi))
}

// random commits n times.
func (s *source) random(n int) {
	for range n {
		pages := max(1, s.pages(s.txid)+uint32(s.rnd.IntN(5))-1) // grows, and sometimes shrinks
		var changed []uint32
		for range s.rnd.IntN(4) {
			changed = append(changed, 1+uint32(s.rnd.IntN(int(pages))))
		}
		s.commit(pages, changed...)
	}
}

// smallReplica returns a replica with one snapshot and three files after it.
func smallReplica(t *testing.T) *source {
	s := newSource(t)
	s.commit(4)
	s.commit(5, 1, 2)
	s.ship(format.LevelSnapshot, 1, 2)
	s.commit(7, 2)
	s.commit(3, 3)
	s.commit(6, 1)
	return s
}

const (
	smallFiles = 4 // in the plan for the newest TXID of a smallReplica
	smallTip   = 5
)
