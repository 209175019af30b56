package statefile

import (
	"io/fs"
	"time"
)

// Closed describes a database file when it was closed.
type Closed struct {
	Size  int64     `json:"size"` // bytes
	MTime time.Time `json:"mtime"`

	// Settled: at that moment, another write would have changed MTime.
	Settled bool `json:"settled,omitempty"`
}

// ClosedAs returns the description of a file, by which a later write can be noticed. Now
// is a time before info was read.
func ClosedAs(info fs.FileInfo, now time.Time) *Closed {
	return &Closed{Size: info.Size(), MTime: info.ModTime().UTC(), Settled: Settled(info, now)}
}

// Equal reports whether a file has the size and time that it had when it was closed. That
// does not prove that no program wrote to it.
func (c *Closed) Equal(now *Closed) bool {
	return c.Size == now.Size && c.MTime.Equal(now.MTime)
}

// Proves reports whether no program can have written to a file since it was closed.
func (c *Closed) Proves(now *Closed) bool { return c.Settled && c.Equal(now) }

const (
	// ClockTick is more than the time between two values of the clock that dates
	// files, a tick of 1 to 10 ms on Linux and 15.6 ms on Windows.
	ClockTick = 20 * time.Millisecond

	// CoarseTick is the same where a file system keeps times in seconds, as ext3 and
	// HFS+ do, or in two seconds, as FAT does.
	CoarseTick = 2*time.Second + ClockTick
)

// Settled reports whether a write at the time now, or later, would give the file
// another modification time than info has.
func Settled(info fs.FileInfo, now time.Time) bool {
	return now.Sub(info.ModTime()) > Tick(info.ModTime())
}

// Tick returns how old a file's modification time must be until a write changes it.
func Tick(mtime time.Time) time.Duration {
	if mtime.Nanosecond() == 0 {
		return CoarseTick
	}
	return ClockTick
}
