package reader

import (
	"container/list"
	"sync"

	"github.com/walvfs/walvfs/format"
)

// A frameKey identifies a page's frame in a file of the replica, whatever key the file
// has.
type frameKey struct {
	checksum format.Checksum
	size     int64 // of the file
	offset   int64
}

func (p place) key() frameKey { return frameKey{p.file.checksum, p.file.info.Size, p.entry.Offset} }

// frames caches the most recently used frames of pages, as they are in the replica, in
// bounded memory.
type frames struct {
	mu   sync.Mutex
	max  int64 // bytes
	used int64
	byID map[frameKey]*list.Element
	lru  list.List // of *frame, most recently used first

	passed  list.List // frames that a long scan has read, last read first
	passing int64     // bytes in passed
}

type frame struct {
	key    frameKey
	b      []byte
	passed bool
}

func (f *frame) cost() int64 { return int64(len(f.b)) + frameCost }

// frameCost is the memory of a frame without its bytes: its entries in the map and the
// list.
const frameCost = 200

// passedShare is the share of the cache for frames that a long scan has read.
const passedShare = 16

func (c *frames) get(key frameKey) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byID[key]
	if e == nil {
		return nil
	}
	f := e.Value.(*frame)
	if !f.passed {
		c.lru.MoveToFront(e)
	}
	return f.b
}

// put caches a frame, which the caller must not change.
func (c *frames) put(key frameKey, b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID[key] != nil {
		return
	}
	if c.byID == nil {
		c.byID = map[frameKey]*list.Element{}
	}
	f := &frame{key: key, b: b}
	c.byID[key] = c.lru.PushFront(f)
	c.used += f.cost()
	for c.used > c.max && c.lru.Len() > 1 {
		c.drop(c.lru.Back())
	}
}

// pass records that a long scan has read a frame, which is not needed again soon.
func (c *frames) pass(key frameKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byID[key]
	if e == nil || e.Value.(*frame).passed {
		return
	}
	f := c.lru.Remove(e).(*frame)
	f.passed = true
	c.byID[key] = c.passed.PushFront(f)
	c.passing += f.cost()
	for c.passing > c.max/passedShare {
		c.drop(c.passed.Back())
	}
}

func (c *frames) remove(key frameKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byID[key]; e != nil {
		c.drop(e)
	}
}

func (c *frames) drop(e *list.Element) {
	f := e.Value.(*frame)
	if f.passed {
		c.passed.Remove(e)
		c.passing -= f.cost()
	} else {
		c.lru.Remove(e)
	}
	delete(c.byID, f.key)
	c.used -= f.cost()
}

func (c *frames) has(key frameKey) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byID[key] != nil
}

func (c *frames) limit() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.max
}

// grow raises the limit.
func (c *frames) grow(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.max = max(c.max, n)
}

func (c *frames) bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used
}
