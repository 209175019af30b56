package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.Store { return openTest(t) })
}

func openTest(t *testing.T) *Store {
	return storagetest.File(t).Open(t).(*Store)
}

func create(s *Store, key string) error {
	return s.Create(context.Background(), key, bytes.NewReader([]byte("x")), storage.Attrs{})
}

func keys(t *testing.T, s *Store) string {
	t.Helper()
	var keys []string
	for o, err := range s.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	return strings.Join(keys, " ")
}

func TestURL(t *testing.T) {
	for _, c := range []struct{ url, want, err string }{
		{"file:///a/b", "file:///a/b", ""},
		{"file://localhost/a/b/", "file:///a/b", ""},
		{"file:///a%20b//c/../d", "file:///a%20b/d", ""},
		{"file://backups/app", "", "file:///backups/app"},
		{"file:backups", "", "must be absolute"},
		{"file:///a?b=c", "", `"b"`},
		{"file://user:hunter2@/a", "", "credentials do not belong"},
	} {
		u, err := url.Parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Open(u, storage.Options{})
		switch {
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "hunter2")):
			t.Errorf("%s: got %v, want %q", c.url, err, c.err)
		case c.err == "" && (err != nil || s.String() != c.want):
			t.Errorf("%s: got %v, %v, want %q", c.url, s, err, c.want)
		}
	}
}

// TestKeys: a key cannot lead out of the root or into the temporary files.
func TestKeys(t *testing.T) {
	s := openTest(t)
	for _, key := range []string{"", ".", "..", "../x", "a/../../x", "/x", "a//b", "a/", "./a", "a\x00b", tempName, tempName + "/x"} {
		if err := create(s, key); err == nil {
			t.Errorf("created %q", key)
		}
		if _, _, err := s.Open(t.Context(), key, 0, -1); err == nil {
			t.Errorf("opened %q", key)
		}
		if err := s.Delete(t.Context(), key); err == nil {
			t.Errorf("deleted %q", key)
		}
	}
	for o, err := range s.List(t.Context(), "../", "") {
		t.Errorf("listed %v, %v", o, err)
	}
}

// TestTemporaryFiles: files that a crash leaves are not objects, and are removed in time.
func TestTemporaryFiles(t *testing.T) {
	s := openTest(t)
	if err := mkdirAll(s.tempDir(), s.access()); err != nil {
		t.Fatal(err)
	}
	stale := fmt.Sprintf("%d-x", time.Now().Add(-staleAfter-time.Hour).Unix())
	fresh := fmt.Sprintf("%d-x", time.Now().Unix())
	for _, name := range []string{stale, fresh, "else"} {
		if err := os.WriteFile(filepath.Join(s.tempDir(), name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := keys(t, s); got != "" {
		t.Errorf("listed %q", got)
	}
	if err := create(s, "a"); err != nil {
		t.Fatal(err)
	}
	entries, _ := os.ReadDir(s.tempDir())
	if len(entries) != 2 || entries[0].Name() != fresh || entries[1].Name() != "else" {
		t.Errorf("left: %v", entries)
	}
	if got := keys(t, s); got != "a" {
		t.Errorf("listed %q", got)
	}
}

func TestNothingLeft(t *testing.T) {
	s := openTest(t)
	if err := create(s, "a"); err != nil {
		t.Fatal(err)
	}
	if err := create(s, "a"); !errors.Is(err, storage.ErrExists) {
		t.Fatal(err)
	}
	s.Close()
	entries, _ := os.ReadDir(s.root)
	if len(entries) != 1 {
		t.Errorf("left: %v", entries)
	}
	if err := create(s, "b"); err != nil { // the directory comes back
		t.Error(err)
	}
}

// without makes the file system lack system calls.
func (s *Store) without(errno error) *Store {
	s.link = func(o, n string) error { return &os.LinkError{Op: "link", Old: o, New: n, Err: errno} }
	s.rename = func(o, n string) error { return &os.LinkError{Op: "rename", Old: o, New: n, Err: errno} }
	return s
}

func TestNoHardLinks(t *testing.T) {
	for _, errno := range []error{syscall.EPERM, syscall.ENOTSUP, syscall.ENOSYS, syscall.EINVAL} {
		s := openTest(t).without(errno)
		err := create(s, "a")
		if !errors.Is(err, storage.ErrNoCondition) || !strings.Contains(err.Error(), "no hard links") || !strings.Contains(err.Error(), "fencing=off") {
			t.Errorf("%v: got %v", errno, err)
		}
		if c, err := storage.Probe(t.Context(), s); c != storage.ConditionRefused || err != nil {
			t.Errorf("Probe: %v, %v", c, err)
		}
		if got := keys(t, s); got != "" {
			t.Errorf("left: %q", got)
		}
	}
}

// TestUnconditional: without put-if-absent, a single writer still creates its objects.
func TestUnconditional(t *testing.T) {
	for _, errno := range []error{syscall.EPERM, syscall.ENOTSUP, syscall.ENOSYS, syscall.EINVAL} {
		r := storagetest.File(t)
		r.Options.Unconditional = true
		s := r.Open(t).(*Store).without(errno)
		if err := create(s, "a"); err != nil {
			t.Errorf("%v: %v", errno, err)
		}
		if err := create(s, "a"); !errors.Is(err, storage.ErrExists) {
			t.Errorf("%v: created twice: %v", errno, err)
		}
		if got := keys(t, s); got != "a" {
			t.Errorf("keys %q", got)
		}
		s.Close()
		if entries, _ := os.ReadDir(s.root); len(entries) != 1 {
			t.Errorf("left: %v", entries)
		}
	}
	// A name created since the first check is not replaced.
	s := openTest(t).without(syscall.EPERM)
	s.unconditional = true
	if err := create(s, "a"); err != nil {
		t.Fatal(err)
	}
	if err := s.publish(filepath.Join(s.root, "temp"), filepath.Join(s.root, "a")); !errors.Is(err, storage.ErrExists) {
		t.Errorf("got %v", err)
	}
	// Another failure does not mean a file system without links.
	s = openTest(t).without(syscall.EIO)
	s.unconditional = true
	if err := create(s, "a"); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v", err)
	}
}

// TestGone: a directory that existed and is gone is not an empty replica, and is not
// created again.
func TestGone(t *testing.T) {
	s := openTest(t)
	if got := keys(t, s); got != "" { // it does not exist yet
		t.Fatal(got)
	}
	if err := create(s, "a/b"); err != nil {
		t.Fatal(err)
	}
	away := s.root + ".away"
	if err := os.Rename(s.root, away); err != nil {
		t.Fatal(err)
	}
	storagetest.RunDenied(t, s, storage.ErrNoBucket)
	if _, err := os.Stat(s.root); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory is there again: %v", err)
	}
	if err := os.Rename(away, s.root); err != nil {
		t.Fatal(err)
	}
	if got := keys(t, s); got != "a/b" {
		t.Errorf("keys %q", got)
	}
}

// TestBegun: a directory that another writer creates at the same moment is not gone.
func TestBegun(t *testing.T) {
	for range 2000 {
		s := openTest(t)
		var g errgroup.Group
		for range 4 {
			g.Go(s.checkRoot)
		}
		g.Go(func() error { return os.Mkdir(s.root, 0o700) })
		for range 4 {
			g.Go(s.checkRoot)
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		os.Remove(s.root)
	}
}

// TestBucket: all replicas on a file system share its bucket.
func TestBucket(t *testing.T) {
	dir := t.TempDir()
	a, b := &Store{root: filepath.Join(dir, "a")}, &Store{root: filepath.Join(dir, "b", "c")}
	if storage.Bucket(a) != storage.Bucket(b) || storage.Place(a) == storage.Place(b) {
		t.Errorf("buckets %s, %s, places %s, %s", storage.Bucket(a), storage.Bucket(b), storage.Place(a), storage.Place(b))
	}
}

// TestOptions: the driver refuses settings of object stores.
func TestOptions(t *testing.T) {
	u := &url.URL{Scheme: "file", Path: "/x"}
	if _, err := Open(u, storage.Options{StorageClass: "STANDARD_IA"}); err == nil {
		t.Error("accepted")
	}
	u.RawQuery = "sse=AES256"
	if _, err := Open(u, storage.Options{}); err == nil || !strings.Contains(err.Error(), "encrypt the file system") {
		t.Errorf("got %v", err)
	}
}

// TestLinkAnswerLost: NFS may report that a name exists although the link succeeded.
func TestLinkAnswerLost(t *testing.T) {
	s := openTest(t)
	s.link = func(o, n string) error {
		os.Link(o, n)
		return os.Link(o, n)
	}
	if err := create(s, "a"); err != nil {
		t.Error(err)
	}
}

func TestErrors(t *testing.T) {
	s := openTest(t)
	for _, c := range []struct {
		err  error
		want error
		hint string
	}{
		{&fs.PathError{Op: "mkdir", Path: "/x", Err: syscall.EACCES}, storage.ErrPermission, "needs to read and write"},
		{&fs.PathError{Op: "mkdir", Path: "/x", Err: syscall.EROFS}, storage.ErrPermission, "mounted read-only"},
		{&fs.PathError{Op: "write", Path: "/x", Err: syscall.ENOSPC}, syscall.ENOSPC, "free space"},
		{&fs.PathError{Op: "write", Path: "/x", Err: syscall.EDQUOT}, syscall.EDQUOT, "quota"},
	} {
		err := s.fail("create", "k", c.err)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.hint) || !strings.Contains(err.Error(), "/x") {
			t.Errorf("%v: got %v", c.err, err)
		}
	}
}

// TestRootIsFile: a root that is not a directory is an error, not an empty replica.
func TestRootIsFile(t *testing.T) {
	s := openTest(t)
	if err := os.WriteFile(s.root, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	check := func(op string, err error) {
		t.Helper()
		var e *storage.Error
		if !errors.As(err, &e) || e.Op != op || e.Hint == "" || errors.Is(err, storage.ErrNotExist) {
			t.Errorf("%s: %v", op, err)
		}
	}
	check("create", create(s, "a/b"))
	check("delete", s.Delete(t.Context(), "a/b"))
	_, _, err := s.Open(t.Context(), "a/b", 0, -1)
	check("open", err)
	for _, prefix := range []string{"", "ltx/0/"} {
		for _, err = range s.List(t.Context(), prefix, "") {
		}
		check("list", err)
	}
}

// TestReadOnly uses a file system that refuses new directories to everyone.
func TestReadOnly(t *testing.T) {
	const sys = "/sys"
	if err := os.Mkdir(sys+"/walvfs-test", 0o755); !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EROFS) {
		t.Skipf("%s is not such a file system here: %v", sys, err)
	}
	s, err := Open(&url.URL{Scheme: "file", Path: sys + "/walvfs-test"}, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := create(s, "a"); !errors.Is(err, storage.ErrPermission) {
		t.Errorf("got %v", err)
	}
}
