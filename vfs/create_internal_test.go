package vfs

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/internal/shipping"
	"github.com/walvfs/walvfs/shipper"
)

// lockedFile is a file of a VFS that grants locks up to a level.
type lockedFile struct {
	vfs.File
	file *os.File
	most vfs.LockLevel
}

func (f lockedFile) Stat() (os.FileInfo, error) { return f.file.Stat() }
func (f lockedFile) Size() (int64, error)       { info, err := f.file.Stat(); return info.Size(), err }
func (f lockedFile) Lock(level vfs.LockLevel) error {
	if level > f.most {
		return sqlite3.BUSY
	}
	return nil
}

// uncreate removes only an empty file that no other connection or process can use.
func TestUncreate(t *testing.T) {
	for name, test := range map[string]struct {
		most    vfs.LockLevel
		prepare func(t *testing.T, path string, r *registry, id fileID)
		removed bool
	}{
		"empty":              {most: vfs.LOCK_EXCLUSIVE, removed: true},
		"locked by a reader": {most: vfs.LOCK_RESERVED},
		"locked by a writer": {most: vfs.LOCK_SHARED},
		"not empty": {most: vfs.LOCK_EXCLUSIVE, prepare: func(t *testing.T, path string, _ *registry, _ fileID) {
			if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		"replaced": {most: vfs.LOCK_EXCLUSIVE, prepare: func(t *testing.T, path string, _ *registry, _ fileID) {
			other := path + ".other"
			if err := os.WriteFile(other, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(other, path); err != nil {
				t.Fatal(err)
			}
		}},
		"open in this process": {most: vfs.LOCK_EXCLUSIVE, prepare: func(_ *testing.T, _ string, r *registry, id fileID) {
			r.byFile[id] = &database{}
		}},
		"being opened in this process": {most: vfs.LOCK_EXCLUSIVE, prepare: func(_ *testing.T, _ string, r *registry, id fileID) {
			r.opening[id] = make(chan struct{})
		}},
		"replicated by another process": {most: vfs.LOCK_EXCLUSIVE, prepare: func(t *testing.T, path string, _ *registry, _ fileID) {
			lock, err := lockDatabase(path)
			if lock == nil {
				t.Skip(err)
			}
			t.Cleanup(func() { lock.Close() })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "app.db")
			file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			f := lockedFile{file: file, most: test.most}
			id, err := identify(path, f)
			if err != nil {
				t.Fatal(err)
			}
			r := registry{byPath: map[string]*database{}, byFile: map[fileID]*database{}, opening: map[fileID]chan struct{}{}}
			if test.prepare != nil {
				test.prepare(t, path, &r, id)
			}
			r.uncreate(path, f)
			if _, err := os.Stat(path); (err != nil) != test.removed {
				t.Errorf("after it: %v", err)
			}
		})
	}
}

// The package documentation and the README document each parameter.
func TestParametersAreDocumented(t *testing.T) {
	for file, format := range map[string]string{"api.go": "//\t%s=", "../README.md": "| `%s` |"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range parameters {
			if !strings.Contains(string(text), fmt.Sprintf(format, p.name)) {
				t.Errorf("%s lacks %s", file, p.name)
			}
		}
	}
}

// A URI spells each choice as Go does, and the first choice is the default of both.
func TestChoices(t *testing.T) {
	v := &replicated{}
	for name, c := range map[string]struct {
		values []string
		of     func(settings) fmt.Stringer
	}{
		"durability": {[]string{"async", "sync"}, func(s settings) fmt.Stringer { return s.durability }},
		"on_fenced":  {[]string{"continue", "readonly"}, func(s settings) fmt.Stringer { return s.onFenced }},
		"restore":    {[]string{"never", "if-missing", "if-behind"}, func(s settings) fmt.Stringer { return s.restore }},
		"adopt":      {[]string{"moved", "equal", "never"}, func(s settings) fmt.Stringer { return s.adopt }},
		"diverged":   {[]string{"halt", "overwrite"}, func(s settings) fmt.Stringer { return s.diverged }},
		"fencing":    {[]string{"on", "off"}, func(s settings) fmt.Stringer { return s.fencing }},
	} {
		if got := c.of(v.defaults()).String(); got != c.values[0] {
			t.Errorf("%s is %s by default", name, got)
		}
		for _, value := range c.values {
			s := v.defaults()
			if err := s.apply(url.Values{name: {value}}); err != nil || c.of(s).String() != value {
				t.Errorf("%s=%s: %s, %v", name, value, c.of(s), err)
			}
		}
	}
	for _, p := range parameters {
		if p.values != nil && !slices.Contains([]string{"durability", "on_fenced", "restore", "adopt", "diverged", "fencing"}, p.name) {
			t.Errorf("%s is not tested", p.name)
		}
	}
}

// Options have the same choices as a URI, and Off means the same as off.
func TestOptionsAreSettings(t *testing.T) {
	v := &replicated{opts: Options{
		Durability: DurabilitySync, Restore: RestoreIfBehind, Adopt: AdoptEqual, Diverged: DivergedOverwrite,
		OnFenced: OnFencedReadonly, Fencing: FencingOff, Interval: Off, SyncTimeout: Off, MaxLag: Off, CloseTimeout: Off, LockTimeout: Off,
		Policy: shipper.Policy{Snapshots: Off, Retention: Off, KeepRaw: time.Hour},
	}}
	want := v.defaults()
	got := (&replicated{}).defaults()
	got.logger, got.calls = want.logger, want.calls
	err := got.apply(url.Values{
		"durability": {"sync"}, "restore": {"if-behind"}, "adopt": {"equal"}, "diverged": {"overwrite"}, "on_fenced": {"readonly"},
		"fencing": {"off"}, "interval": {"0s"}, "sync_timeout": {"off"}, "max_lag": {"off"}, "close_timeout": {"0s"}, "lock_timeout": {"0s"},
		"snapshots": {"off"}, "retention": {"off"}, "keep_raw": {"1h"},
	})
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
	}
}

// Each field of a policy comes from the options, otherwise from the configuration,
// otherwise from the defaults.
func TestEffectivePolicy(t *testing.T) {
	own := shipper.Policy{Snapshots: Off, KeepRaw: time.Hour}
	file := shipper.Policy{Snapshots: time.Hour, Retention: Off, Levels: []time.Duration{}}
	got := effective(own, file)
	want := shipping.Policy{Levels: []time.Duration{}, Snapshots: 0, KeepRaw: time.Hour, Keep: 0}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := effective(shipper.Policy{}, shipper.Policy{}); !reflect.DeepEqual(got, shipping.DefaultPolicy()) {
		t.Errorf("nothing is said: %+v", got)
	}
}
