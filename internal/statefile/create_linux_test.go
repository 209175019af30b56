package statefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// creators are the two ways to create a file. Create chooses one by the file system.
var creators = map[string]func(name string, like traits) (*os.File, error){
	"unnamed": createUnnamed,
	"named":   createNamed,
}

// A file gets the mode, the owner and the group of the database, whatever the umask is.
func TestCreateLikeTheDatabase(t *testing.T) {
	for way, create := range creators {
		for _, test := range []struct{ mode, umask int }{{0o600, 0o022}, {0o644, 0o077}, {0o660, 0o022}, {0o640, 0}} {
			t.Run(fmt.Sprintf("%s, %o with umask %o", way, test.mode, test.umask), func(t *testing.T) {
				defer syscall.Umask(syscall.Umask(test.umask))
				path := filepath.Join(t.TempDir(), "app.db")
				want := traits{fs.FileMode(test.mode), os.Getuid(), os.Getgid()}
				err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, want.mode))
				if os.Geteuid() == 0 {
					want.uid, want.gid = 4711, 4712
					err = errors.Join(err, os.Chown(path, want.uid, want.gid))
				}
				if err != nil {
					t.Fatal(err)
				}
				like, err := traitsOf(path)
				if err != nil {
					t.Fatal(err)
				}
				requireTraits(t, create, path+"-wal", like, want)
			})
		}
	}
}

func requireTraits(t *testing.T, create func(string, traits) (*os.File, error), name string, like, want traits) {
	t.Helper()
	f, err := create(name, like)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	if _, err := f.WriteString("written"); err != nil {
		t.Error(err)
	}
	info, err := os.Lstat(name)
	if err != nil {
		t.Error(err)
		return
	}
	stat := info.Sys().(*syscall.Stat_t)
	if got := (traits{info.Mode(), int(stat.Uid), int(stat.Gid)}); got != want || info.Size() != 7 {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// A user who cannot give a file to the database's group does not give access to another
// group instead.
func TestCreateInForeignGroup(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	const foreign = 4712
	for way, create := range creators {
		for _, test := range []struct {
			name      string
			mode      fs.FileMode
			group     int
			directory fs.FileMode
			want      traits
		}{
			{"read and write", 0o660, foreign, 0o700, traits{0o600, nobody, nobody}},
			{"read", 0o640, foreign, 0o700, traits{0o600, nobody, nobody}},
			{"read by all", 0o644, foreign, 0o700, traits{0o604, nobody, nobody}},
			{"private", 0o600, foreign, 0o700, traits{0o600, nobody, nobody}},
			{"own group", 0o660, nobody, 0o700, traits{0o660, nobody, nobody}},
			{"the directory's group", 0o660, foreign, 0o700 | fs.ModeSetgid, traits{0o660, nobody, foreign}},
		} {
			t.Run(way+", "+test.name, func(t *testing.T) {
				parent := t.TempDir()
				dir := filepath.Join(parent, "data")
				path := filepath.Join(dir, "app.db")
				err := errors.Join(os.Mkdir(dir, 0), os.Chown(dir, nobody, test.group), os.Chmod(dir, test.directory),
					os.WriteFile(path, nil, 0), os.Chown(path, 0, test.group), os.Chmod(path, test.mode))
				if err != nil {
					t.Fatal(err)
				}
				asNobody(t, parent, func() {
					like, err := traitsOf(path)
					if err != nil {
						t.Error(err)
						return
					}
					requireTraits(t, create, path+"-wal", like, test.want)
				})
			})
		}
	}
}

// If the database does not exist yet, only its owner may access a file. If root creates
// the file, it belongs to the directory's owner.
func TestCreateBeforeTheDatabase(t *testing.T) {
	for way, create := range creators {
		t.Run(way, func(t *testing.T) {
			dir := t.TempDir()
			want := traits{0o600, os.Getuid(), os.Getgid()}
			if os.Geteuid() == 0 {
				want.uid, want.gid = 4711, 4712
				if err := os.Chown(dir, want.uid, want.gid); err != nil {
					t.Fatal(err)
				}
			}
			like, err := traitsOf(filepath.Join(dir, "app.db"))
			if err != nil {
				t.Fatal(err)
			}
			requireTraits(t, create, filepath.Join(dir, "app.db-wal"), like, want)
		})
	}
}

// Create does not change a file or a symbolic link that has the name already, even if the
// link leads to no file.
func TestCreateIsExclusive(t *testing.T) {
	for way, create := range creators {
		t.Run(way, func(t *testing.T) {
			dir := t.TempDir()
			file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
			if err := errors.Join(os.WriteFile(file, []byte("old"), 0o600), os.Symlink("nowhere", link)); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{file, link} {
				if _, err := create(name, traits{0o600, -1, -1}); !errors.Is(err, fs.ErrExist) {
					t.Errorf("%s: %v", name, err)
				}
			}
			if b, err := os.ReadFile(file); err != nil || string(b) != "old" {
				t.Errorf("%q, %v", b, err)
			}
			if _, err := os.Lstat(filepath.Join(dir, "nowhere")); err == nil {
				t.Error("the link was followed")
			}
		})
	}
}

// The error says whether the directory is missing or not writable.
func TestCreateFails(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "missing", "app.db-wal")
	if _, err := Create(name, filepath.Join(dir, "missing", "app.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := Temp(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	other := t.TempDir()
	asNobody(t, dir, func() {
		if _, err := Create(filepath.Join(other, "app.db-wal"), filepath.Join(other, "app.db")); !errors.Is(err, fs.ErrPermission) {
			t.Error(err)
		}
		if _, err := Temp(other); !errors.Is(err, fs.ErrPermission) {
			t.Error(err)
		}
	})
}

// A temporary file never has a name.
func TestTempHasNoName(t *testing.T) {
	dir := t.TempDir()
	fd, err := syscall.InotifyInit1(syscall.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if _, err := syscall.InotifyAddWatch(fd, dir, syscall.IN_CREATE|syscall.IN_DELETE); err != nil {
		t.Fatal(err)
	}
	f, err := Temp(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("written"); err != nil {
		t.Error(err)
	}
	if n, err := syscall.Read(fd, make([]byte, 4096)); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("a name has appeared or vanished: %d bytes of events, %v", n, err)
	}
}
