package reader

import (
	"container/list"
	"sync"

	"github.com/walvfs/walvfs/format"
)

// A frameKey names a page's frame in a file of the replica, whatever key the file has.
type frameKey struct {
	checksum format.Checksum
	size     int64 // of the file
	offset   int64
}

func (p place) key() frameKey { return frameKey{p.file.checksum, p.file.info.Size, p.entry.Offset} }

// frames keeps the frames of pages, as they are in the replica, in bounded memory: those
// that were used last.
type frames struct {
	mu   sync.Mutex
	max  int64 // bytes
	used int64
	byID map[frameKey]*list.Element
	lru  list.List // of *frame, the one used last in front
}

type frame struct {
	key frameKey
	b   []byte
}

// frameCost is what a frame takes beside its bytes: its entries in the map and the list.
const frameCost = 200

func (c *frames) get(key frameKey) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byID[key]
	if e == nil {
		return nil
	}
	c.lru.MoveToFront(e)
	return e.Value.(*frame).b
}

// put keeps a frame, which the caller does not change.
func (c *frames) put(key frameKey, b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID[key] != nil {
		return
	}
	if c.byID == nil {
		c.byID = map[frameKey]*list.Element{}
	}
	c.byID[key] = c.lru.PushFront(&frame{key, b})
	c.used += int64(len(b)) + frameCost
	for c.used > c.max && c.lru.Len() > 1 {
		c.drop(c.lru.Back())
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
	f := c.lru.Remove(e).(*frame)
	delete(c.byID, f.key)
	c.used -= int64(len(f.b)) + frameCost
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
