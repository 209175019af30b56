//go:build unix

package restore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// ownership is a file's owner and mode.
type ownership struct {
	mode     fs.FileMode
	uid, gid uint32
}

func ownershipOf(t *testing.T, name string) ownership {
	t.Helper()
	info, err := os.Lstat(name)
	if err != nil {
		t.Error(err)
		return ownership{}
	}
	st := info.Sys().(*syscall.Stat_t)
	return ownership{info.Mode(), st.Uid, st.Gid}
}

// A restored file has the old database's owner and mode, from the start. Without an old
// database, only its owner has access: the directory's owner, if root restores.
func TestOwnership(t *testing.T) {
	s := smallReplica(t)
	for name, c := range map[string]struct {
		old  bool
		want ownership
	}{
		"new":      {false, ownership{mode: 0o600, uid: 4711, gid: 4712}},
		"private":  {true, ownership{mode: 0o600, uid: 4713, gid: 4714}},
		"shared":   {true, ownership{mode: 0o660, uid: 4713, gid: 4714}},
		"readable": {true, ownership{mode: 0o644, uid: 4713, gid: 4714}},
	} {
		t.Run(name, func(t *testing.T) {
			defer syscall.Umask(syscall.Umask(0o022))
			dir := t.TempDir()
			target, want := filepath.Join(dir, "app.db"), c.want
			if os.Geteuid() != 0 {
				want.uid, want.gid = uint32(os.Getuid()), uint32(os.Getgid())
			} else if err := os.Chown(dir, 4711, 4712); err != nil {
				t.Fatal(err)
			}
			if c.old {
				writeFiles(t, map[string]string{target: "old"})
				if err := errors.Join(os.Chmod(target, want.mode), os.Chown(target, int(want.uid), int(want.gid))); err != nil {
					t.Fatal(err)
				}
			}
			looks := 0
			check := func(names ...string) {
				looks++
				for _, n := range names {
					if got := ownershipOf(t, n); got != want {
						t.Errorf("%s: %+v, want %+v", n, got, want)
					}
				}
			}
			_, err := Restore(t.Context(), s.store, target, Options{Force: true, Progress: func(Progress) { check(target + tempSuffix) }})
			if err != nil || looks == 0 {
				t.Fatal(err, looks)
			}
			check(target)
		})
	}
}
