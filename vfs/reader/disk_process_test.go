//go:build linux || darwin

package reader

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/walvfs/walvfs/format"
)

// A diskOrder makes a separate process read a replica with a cache directory.
type diskOrder struct {
	Dir       string
	Size      int64
	KillAt    int64 // the request to the replica at which the process is killed, 0 for none
	Limit     bool  // whether files end at Most bytes, as on a full disk
	Most      uint64
	Connected int // how many connections read everything at once
}

const diskOrderVar = "WALVFS_TEST_DISK"

// TestDiskChild is that process, not a test.
func TestDiskChild(t *testing.T) {
	text := os.Getenv(diskOrderVar)
	if text == "" {
		return
	}
	var o diskOrder
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	store, state := largeReplica(t)
	var requests atomic.Int64
	store.SetBefore(func(context.Context, string, string) error {
		if requests.Add(1) == o.KillAt {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return nil
	})
	s := cachedSource(t, store, o.Dir, o.Size)
	if o.Limit {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: o.Most, Max: o.Most}); err != nil {
			t.Fatal(err)
		}
	}
	v := newestView(t, s)
	var wg sync.WaitGroup
	for i := range o.Connected {
		wg.Go(func() {
			if err := readFrom(t.Context(), s, v, state, i*len(state)/o.Connected); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if full := !s.pages.disk.until.IsZero(); full != o.Limit {
		t.Errorf("a write has failed: %t", full)
	}
}

// readFrom reads all pages, beginning with page first.
func readFrom(ctx context.Context, s *source, v *view, state []format.TXID, first int) error {
	page := make([]byte, testPageSize)
	for i := range state {
		i = (first + i) % len(state)
		if err := s.pages.read(ctx, v, uint32(i+1), page); err != nil {
			return err
		}
		if !bytes.Equal(page, content(uint32(i+1), state[i])) {
			return fmt.Errorf("page %d is not that of TXID %s", i+1, state[i])
		}
	}
	return nil
}

// start starts the process. Wait reports whether it was killed.
func (o diskOrder) start(t *testing.T) (wait func() (killed bool)) {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestDiskChild$", "-test.timeout=1m")
	cmd.Env = append(os.Environ(), diskOrderVar+"="+string(text), "GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() bool {
		t.Helper()
		err := cmd.Wait()
		if e, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || e.ExitCode() != -1) {
			t.Fatalf("%+v: %v\n%s", o, err, &out)
		}
		return err != nil
	}
}

// Processes that read concurrently share a directory so small that they remove each
// other's blocks, while other readers of the directory are killed.
func TestDiskIsSharedByProcesses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	for _, size := range []int64{defaultSize, 10 * blockSize} {
		var all, dying []func() bool
		for i := range 3 {
			all = append(all, diskOrder{Dir: dir, Size: size, Connected: 2}.start(t))
			dying = append(dying, diskOrder{Dir: dir, Size: size, Connected: 2, KillAt: int64(2 + 3*i)}.start(t))
		}
		for _, wait := range all {
			if wait() {
				t.Fatal("it was killed")
			}
		}
		for _, wait := range dying {
			wait() // unless it found everything that it needed
		}
		store, state := largeReplica(t)
		readAll(t, cachedSource(t, store, dir, size), state)
	}
}

// A process is killed at any point while its connections write blocks. The next process
// reads correct pages, and continues with the existing blocks.
func TestDiskAfterKills(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	kills := 0
	order := diskOrder{Dir: dir, Size: defaultSize, Connected: 6, KillAt: 2}
	for ; order.start(t)(); order.KillAt += 2 {
		kills++
		store, state := largeReplica(t)
		copied := filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		readAll(t, cachedSource(t, store, copied, defaultSize), state)
	}
	if kills < 3 {
		t.Errorf("%d processes were killed", kills)
	}
	store, state := largeReplica(t)
	opens, _ := counted(store)
	readAll(t, cachedSource(t, store, dir, defaultSize), state)
	if n := opens.Load(); n > 12 {
		t.Errorf("%d reads after all blocks were written", n)
	}
}

// On a full disk, reads return correct pages, and no partial block remains. When space is
// free again, blocks are cached.
func TestDiskIsFull(t *testing.T) {
	for _, most := range []uint64{0, 100, blockHeader + blockSize - 1} {
		dir := filepath.Join(t.TempDir(), "cache")
		if (diskOrder{Dir: dir, Size: defaultSize, Connected: 3, Limit: true, Most: most}).start(t)() {
			t.Fatal("it was killed")
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries { // a file's last block may be small enough to fit
			if info, err := e.Info(); err != nil || strings.HasSuffix(e.Name(), blockTemp) || info.Size() >= int64(most) {
				t.Errorf("%d bytes: %s is left, %v", most, e.Name(), err)
			}
		}
		store, state := largeReplica(t)
		readAll(t, cachedSource(t, store, dir, defaultSize), state)
		opens, _ := counted(store)
		readAll(t, cachedSource(t, store, dir, defaultSize), state)
		if n := opens.Load(); n > 12 {
			t.Errorf("%d bytes: %d reads after there was room again", most, n)
		}
	}
}

// An obstacle in the place of a block, such as a directory or a link to another file,
// costs only that block.
func TestDiskIsObstructed(t *testing.T) {
	store, state := largeReplica(t)
	dir := t.TempDir()
	readAll(t, cachedSource(t, store, dir, defaultSize), state)
	names, err := filepath.Glob(filepath.Join(dir, "*"+blockSuffix))
	if err != nil || len(names) < 4 {
		t.Fatal(names, err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, name := range names[:3] {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		if err := []func() error{
			func() error { return os.MkdirAll(filepath.Join(name, "full"), 0o700) },
			func() error { return os.Symlink(secret, name) },
			func() error { return syscall.Mkfifo(name, 0o600) },
		}[i](); err != nil {
			t.Fatal(err)
		}
	}
	s := cachedSource(t, store, dir, defaultSize)
	readAll(t, s, state)
	if !s.pages.disk.until.IsZero() {
		t.Error("no further blocks are written")
	}
	if b, err := os.ReadFile(secret); err != nil || string(b) != "secret" {
		t.Errorf("a file that a link leads to: %q, %v", b, err)
	}
}
