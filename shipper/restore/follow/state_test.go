package follow_test

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/restore/follow"
	"github.com/walvfs/walvfs/shipper/storage"
)

// Without a valid state file, nothing identifies the copy. The follower leaves both
// unchanged, and makes the copy again only if forced.
func TestFollowUnknownState(t *testing.T) {
	l := newLive(t, 4096)
	l.commit(schema, manyRows(3))
	store := l.store()
	text := `{"seq":1,"replica":"` + store.String() + `","at":{"txid":"0000000000000002"}}`
	earlier := append(make([]byte, 4096), fmt.Appendf(nil, "%08x %s\n", crc32.ChecksumIEEE([]byte(text)), text)...)
	for _, test := range []struct {
		name   string
		change func(state []byte) []byte
		want   error
	}{
		{"of an earlier version", func([]byte) []byte { return append(earlier, make([]byte, 8192-len(earlier))...) }, statefile.ErrInvalid},
		{"of another program", func([]byte) []byte { return []byte("3\n") }, statefile.ErrInvalid},
		{"without headers", func(b []byte) []byte { return append(make([]byte, 8192), b[8192:]...) }, statefile.ErrInvalid},
		{"a damaged value", func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("file://"), []byte("FILE://")) }, statefile.ErrInvalid},
		{"empty", func([]byte) []byte { return nil }, restore.ErrExists},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "copy.db")
			f := runFollow(t, store, path, follow.Options{})
			f.At(2)
			f.Stop()
			state, err := os.ReadFile(path + follow.FollowSuffix)
			if err == nil {
				state = test.change(state)
				err = os.WriteFile(path+follow.FollowSuffix, state, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			before := image(t, store, 2)
			for range 2 {
				_, err = runFollow(t, store, path, follow.Options{}).First()
				if !errors.Is(err, test.want) || !strings.Contains(err.Error(), "force it)") {
					t.Errorf("without force: %v", err)
				}
				if got, _ := os.ReadFile(path + follow.FollowSuffix); !bytes.Equal(got, state) || !bytes.Equal(masked(t, path), before) {
					t.Error("without force: the files changed")
				}
			}
			for _, opts := range []follow.Options{forced, {}} {
				f = runFollow(t, store, path, opts)
				if r, err := f.First(); err != nil || r.TXID != 2 || r.Resumed == opts.Force {
					t.Errorf("force %t: %+v, %v", opts.Force, r, err)
				}
				f.Stop()
			}
		})
	}
}

// A state file without a copy does not matter, whatever its content.
func TestFollowWithoutCopy(t *testing.T) {
	l := newLive(t, 4096)
	l.commit(schema)
	store := l.store()
	for name, state := range map[string]string{"empty": "", "damaged": "damaged"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "copy.db")
			if err := os.WriteFile(path+follow.FollowSuffix, []byte(state), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, resumed := range []bool{false, true} {
				f := runFollow(t, store, path, follow.Options{})
				if r, err := f.First(); err != nil || r.Resumed != resumed {
					t.Errorf("%+v, %v", r, err)
				}
				f.Stop()
			}
		})
	}
}

// When a copy of one replica replaces a copy of another, any kill and any failure leaves
// one of them, with a state file that identifies it.
func TestFollowReplaced(t *testing.T) {
	oldSource, newSource := newLive(t, 4096), newLive(t, 512)
	oldSource.commit(schema, manyRows(3))
	newSource.commit(schema, manyRows(4))
	stores := []*hidingStore{oldSource.store(), newSource.store()}
	images := [][]byte{image(t, stores[0], 2), image(t, stores[1], 2)}

	for how, interrupted := range map[string]func(t *testing.T, path string, step int) bool{
		"killed": func(t *testing.T, path string, step int) bool {
			return followOrder{newSource.replica, path, 2, step, true}.killed(t)
		},
		"failed": func(t *testing.T, path string, step int) bool {
			return failAt(t, stores[1], path, step)
		},
	} {
		t.Run(how, func(t *testing.T) {
			found := [2]int{}
			for step, more := 1, true; more; step++ {
				path := filepath.Join(t.TempDir(), "copy.db")
				f := runFollow(t, stores[0], path, follow.Options{})
				f.At(2)
				f.Stop()
				more = interrupted(t, path, step)
				is := requireOneOf(t, path, images)
				found[is]++
				f = runFollow(t, stores[is], path, follow.Options{})
				if r, err := f.First(); err != nil || !r.Resumed {
					t.Fatalf("step %d left the copy of replica %d: %+v, %v", step, is, r, err)
				}
				f.Stop()
			}
			if found[0] < 3 || found[1] < 2 {
				t.Errorf("the steps left %d times the old copy, and %d times the new one", found[0], found[1])
			}
		})
	}
}

// A state file exists if and only if a copy exists, even if the follower fails while it
// makes the copy, or while it replaces a database.
func TestFollowFailsAtFirst(t *testing.T) {
	l := newLive(t, 4096)
	l.commit(schema)
	store := l.store()
	for name, before := range map[string][]byte{"new": nil, "in place of a database": masked(t, l.path)} {
		t.Run(name, func(t *testing.T) {
			found := map[bool]int{}
			for step, failed := 1, true; failed; step++ {
				path := filepath.Join(t.TempDir(), "copy.db")
				if before != nil {
					if err := os.WriteFile(path, before, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				failed = failAt(t, store, path, step)
				content, _ := os.ReadFile(path)
				copied := !bytes.Equal(content, before)
				if got := exists(path + follow.FollowSuffix); got != copied {
					t.Errorf("step %d: there is a state file: %t, a copy: %t", step, got, copied)
				}
				found[copied]++
			}
			if found[false] < 3 || found[true] < 2 {
				t.Errorf("the steps left %d times no copy, and %d times one", found[false], found[true])
			}
		})
	}
}

// failAt forces a copy to a path, with one failing step, and reports whether that step
// exists.
func failAt(t *testing.T, store storage.Store, path string, step int) (failed bool) {
	t.Helper()
	opts, steps := forced, 0
	opts.SetStep(func(do func() error) error {
		if steps++; steps == step {
			failed = true
			return errors.New("the disk fails")
		}
		return do()
	})
	f := runFollow(t, store, path, opts)
	if _, err := f.First(); err == nil {
		f.Stop()
	}
	return failed
}
