package statefile

import (
	"io/fs"
	"testing"
	"time"
)

type fileInfo struct {
	fs.FileInfo
	size  int64
	mtime time.Time
}

func (i fileInfo) Size() int64        { return i.size }
func (i fileInfo) ModTime() time.Time { return i.mtime }

// A file is settled when every later write must change its modification time.
func TestSettled(t *testing.T) {
	second := time.Date(2026, 11, 29, 13, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name    string
		mtime   time.Time
		age     time.Duration
		settled bool
	}{
		{"just written", second.Add(4 * time.Millisecond), 0, false},
		{"within a tick", second.Add(4 * time.Millisecond), ClockTick, false},
		{"after a tick", second.Add(4 * time.Millisecond), ClockTick + 1, true},
		{"in the future", second.Add(4 * time.Millisecond), -time.Hour, false},
		{"whole seconds, within two", second, 2 * time.Second, false},
		{"whole seconds, after two", second, CoarseTick + 1, true},
		{"before 1970", time.Unix(-1, 0), time.Second, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			info := fileInfo{size: 8192, mtime: test.mtime}
			if got := Settled(info, test.mtime.Add(test.age)); got != test.settled {
				t.Errorf("settled %v", got)
			}
			left := ClosedAs(info, test.mtime.Add(test.age))
			if got := left.Proves(ClosedAs(info, test.mtime)); got != test.settled {
				t.Errorf("proves %v", got)
			}
		})
	}
}

// A difference proves nothing, however old the file is.
func TestClosedProves(t *testing.T) {
	mtime := time.Date(2026, 11, 29, 13, 0, 0, 1, time.UTC)
	now := mtime.Add(time.Hour)
	left := ClosedAs(fileInfo{size: 8192, mtime: mtime}, now)
	for _, test := range []struct {
		name   string
		found  fileInfo
		proves bool
	}{
		{"as it was left", fileInfo{size: 8192, mtime: mtime.Local()}, true},
		{"another size", fileInfo{size: 4096, mtime: mtime}, false},
		{"another time", fileInfo{size: 8192, mtime: mtime.Add(1)}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := left.Proves(ClosedAs(test.found, now)); got != test.proves {
				t.Errorf("proves %v", got)
			}
		})
	}
}
