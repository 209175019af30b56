package file

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/walvfs/walvfs/shipper/storage"
)

// Only the owner may read a replica, and the group if the replica's directory is shared
// with it on purpose. Files that root creates belong to the directory's owner.
func TestAccess(t *testing.T) {
	const setgid = fs.ModeSetgid
	for _, test := range []struct {
		name      string
		base      fs.FileMode // 0: it does not exist
		dir, file fs.FileMode
	}{
		{"missing", 0, 0o700, 0o600},
		{"private", 0o700, 0o700, 0o600},
		{"for everybody", 0o755, 0o700, 0o600},
		{"writable for everybody", 0o777, 0o700, 0o600},
		{"readable for the group", 0o750, 0o750, 0o640},
		{"writable for the group", 0o770, 0o770, 0o660},
		{"writable for the group, readable for others", 0o775, 0o770, 0o660},
		{"setgid", setgid | 0o770, setgid | 0o770, 0o660},
		{"setgid, readable for everybody", setgid | 0o755, setgid | 0o750, 0o640},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer syscall.Umask(syscall.Umask(0o027))
			base := filepath.Join(t.TempDir(), "replica")
			owned := filepath.Dir(base)
			if test.base != 0 {
				owned = base
				if err := os.Mkdir(base, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			uid, gid := os.Getuid(), os.Getgid()
			if uid == 0 {
				uid, gid = 4711, 4712
				if err := os.Chown(owned, uid, gid); err != nil {
					t.Fatal(err)
				}
			}
			if test.base != 0 {
				if err := os.Chmod(base, test.base); err != nil {
					t.Fatal(err)
				}
			}
			s := &Store{root: base, link: os.Link}
			if err := s.Create(t.Context(), "ltx/0/a.ltx", strings.NewReader("object"), storage.Attrs{}); err != nil {
				t.Fatal(err)
			}
			for name, mode := range map[string]fs.FileMode{"ltx": test.dir | fs.ModeDir, "ltx/0": test.dir | fs.ModeDir, "ltx/0/a.ltx": test.file, tempName: test.dir | fs.ModeDir} {
				requireAccess(t, filepath.Join(base, name), fmt.Sprint(mode, uid, gid))
			}
			if test.base == 0 {
				requireAccess(t, base, fmt.Sprint(test.dir|fs.ModeDir, uid, gid))
			}
		})
	}
}

func requireAccess(t *testing.T, name, want string) {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Error(err)
		return
	}
	uid, gid := ownerOf(info)
	if got := fmt.Sprint(info.Mode(), uid, gid); got != want {
		t.Errorf("%s: %s, want %s", name, got, want)
	}
}
