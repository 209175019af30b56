package follow_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/restore/follow"
)

// The follower does not follow, nor wait for, a foreign link or special file under a name
// that walvfs uses.
func TestForeignNames(t *testing.T) {
	l := newLive(t, 4096)
	l.commit(schema)
	for name, make := range map[string]func(name, victim string) error{
		"dangling link": func(name, victim string) error { return os.Symlink(victim+".new", name) },
		"link":          func(name, victim string) error { return os.Symlink(victim, name) },
		"directory":     func(name, victim string) error { return os.Mkdir(name, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			victim, target := filepath.Join(dir, "victim"), filepath.Join(dir, "app.db")
			if err := errors.Join(os.WriteFile(victim, []byte("precious"), 0o600), make(target+follow.FollowSuffix, victim)); err != nil {
				t.Fatal(err)
			}
			err := follow.Run(t.Context(), l.store(), target, follow.Options{})
			if err == nil || !strings.Contains(err.Error(), "app.db-walvfs-follow: it is a link or a special file") {
				t.Errorf("error is %v", err)
			}
			if b, err := os.ReadFile(victim); err != nil || string(b) != "precious" || exists(victim+".new") || exists(target) {
				t.Errorf("the victim has %q, %v", b, err)
			}
		})
	}
}

// A copy, and the files next to it, get the mode of the database that it replaces.
func TestMode(t *testing.T) {
	l := newLive(t, 4096)
	l.commit(schema)
	copied := filepath.Join(t.TempDir(), "copy.db")
	if err := errors.Join(os.WriteFile(copied, []byte("an old database"), 0o600), os.Chmod(copied, 0o640)); err != nil {
		t.Fatal(err)
	}
	check := func(names ...string) {
		for _, name := range names {
			if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o640 {
				t.Errorf("%s: %v, %v", name, info.Mode(), err)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := follow.Run(ctx, l.store(), copied, follow.Options{
		Options: restore.Options{Force: true, Progress: func(restore.Progress) { check(copied+statefile.SuffixRestore, copied+follow.FollowSuffix) }},
		Report: func(follow.Status) {
			check(copied)
			cancel()
		},
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
