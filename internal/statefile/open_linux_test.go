package statefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// A file with the state file's name that is not a regular file of its own is neither read
// nor written, and the message says what to do.
func TestNotOurFile(t *testing.T) {
	for _, test := range []struct {
		name  string
		put   func(name, elsewhere string) error
		want  string
		loads bool // reading is harmless
	}{
		{"symbolic link", func(name, elsewhere string) error { return os.Symlink(elsewhere, name) }, "it is a symbolic link (remove it)", false},
		{"dangling link", func(name, _ string) error { return os.Symlink("nowhere", name) }, "it is a symbolic link (remove it)", false},
		{"named pipe", func(name, _ string) error { return syscall.Mkfifo(name, 0o600) }, "it is a named pipe (remove it)", false},
		{"directory", func(name, _ string) error { return os.Mkdir(name, 0o700) }, "it is a directory (remove it)", false},
		{"hard link", func(name, elsewhere string) error { return os.Link(elsewhere, name) }, "it has other names, which are hard links to it (remove it)", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "app.db")
			elsewhere := filepath.Join(t.TempDir(), "other.db")
			save(t, sample, elsewhere)
			before, err := os.ReadFile(elsewhere + Suffix)
			if err != nil {
				t.Fatal(err)
			}
			if err := test.put(path+Suffix, elsewhere+Suffix); err != nil {
				t.Fatal(err)
			}
			want := "open " + path + Suffix + ": " + test.want
			for what, err := range map[string]error{"save": sample.Save(path), "continue": Open(path).Continue()} {
				if err == nil || !strings.Contains(err.Error(), test.want) || what == "continue" && err.Error() != want {
					t.Errorf("%s: %v", what, err)
				}
			}
			_, err = Load(path)
			if test.loads != (err == nil) || !test.loads && (err.Error() != want || errors.Is(err, ErrInvalid) || errors.Is(err, fs.ErrNotExist)) {
				t.Errorf("load: %v", err)
			}
			if after, err := os.ReadFile(elsewhere + Suffix); err != nil || string(after) != string(before) {
				t.Errorf("the other file was written to: %v", err)
			}
			if _, err := os.Lstat(filepath.Join(filepath.Dir(path), "nowhere")); err == nil {
				t.Error("a symbolic link was followed")
			}
		})
	}
}

// An unreadable state file differs from a missing and a damaged one, and the message
// names its owner.
func TestUnreadable(t *testing.T) {
	for _, test := range []struct {
		name string
		err  error
		want string
		put  func(path string) error
	}{
		{"missing", fs.ErrNotExist, "no such file", func(path string) error { return nil }},
		{"empty", fs.ErrNotExist, "file does not exist", func(path string) error { return os.WriteFile(path+Suffix, nil, 0o644) }},
		{"of an older version", ErrInvalid, "not a valid state file", func(path string) error {
			return os.WriteFile(path+Suffix, []byte("1b2f9c3d {\"version\":1}\n"), 0o644)
		}},
		{"not readable", fs.ErrPermission, "permission denied (its mode is 0000: chmod it to the database's mode)", func(path string) error {
			return errors.Join(sample.Save(path), os.Chown(path+Suffix, nobody, nobody), os.Chmod(path+Suffix, 0))
		}},
		{"of another user", fs.ErrPermission, "permission denied (it belongs to root: chown it to the database's owner)", sample.Save},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "app.db")
			if err := test.put(path); err != nil {
				t.Fatal(err)
			}
			var err error
			asNobody(t, filepath.Dir(path), func() { _, err = Load(path) })
			for _, is := range []error{fs.ErrNotExist, ErrInvalid, fs.ErrPermission} {
				if errors.Is(err, is) != (is == test.err) {
					t.Errorf("%v", err)
				}
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path+Suffix) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

// A state file that its owner may read, but not write, becomes writable.
func TestReadOnlyStateFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "app.db")
	asNobody(t, dir, func() {
		for txid := range 2 {
			if err := forFile(FileID{}, txid+1).Save(path); err != nil {
				t.Error(err)
			}
			if err := os.Chmod(path+Suffix, 0o400); err != nil {
				t.Error(err)
			}
		}
		if got, err := Load(path); err != nil || got.Acked.TXID != 2 {
			t.Errorf("%+v, %v", got.Acked, err)
		}
	})
}

const nobody = 65534

// asNobody calls do as a user other than root, who owns the directory.
func asNobody(t *testing.T, dir string, do func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	for up := dir; up != os.TempDir() && up != filepath.Dir(up); up = filepath.Dir(up) {
		if err := os.Chmod(up, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var as sync.WaitGroup
	as.Go(func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		for _, call := range [][]uintptr{{syscall.SYS_SETGROUPS, 0, 0, 0}, {syscall.SYS_SETRESGID, nobody, nobody, nobody}, {syscall.SYS_SETRESUID, nobody, nobody, nobody}} {
			if _, _, errno := syscall.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
				t.Error(errno)
				return
			}
		}
		do()
	})
	as.Wait()
}
