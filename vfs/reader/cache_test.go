package reader

import "testing"

// A long scan drops only frames that it has read itself.
func TestPassedFramesGoFirst(t *testing.T) {
	c := frames{max: 64 << 10}
	key := func(n int64) frameKey { return frameKey{offset: n} }
	frame := make([]byte, 1000)
	for n := range int64(40) {
		c.put(key(n), frame)
	}
	for n := int64(100); n < 1000; n++ {
		c.put(key(n), frame)
		c.pass(key(n))
		if c.get(key(n)) == nil {
			t.Fatalf("frame %d is gone as soon as it was read", n)
		}
	}
	for n := range int64(40) {
		if !c.has(key(n)) {
			t.Errorf("frame %d was pushed out", n)
		}
	}
	if kept := len(c.byID) - 40; kept != c.passed.Len() || c.passing > c.max/passedShare {
		t.Errorf("%d frames of the scan are kept, %d bytes", kept, c.passing)
	}
	for n := int64(999); c.passed.Len() > 0; n-- {
		c.remove(key(n))
	}
	if c.passing != 0 || c.used != 40*(1000+frameCost) {
		t.Errorf("%d and %d bytes", c.passing, c.used)
	}
}
