package driver

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/walvfs/walvfs/shipper/storage"
)

func TestGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard(t.Context(), time.Minute)
		defer g.Stop()
		for range 10 { // progress, however slow in total
			time.Sleep(50 * time.Second)
			g.Touch()
		}
		if err := g.Context().Err(); err != nil {
			t.Fatalf("cancelled in spite of progress: %v", err)
		}
		body := g.Body(strings.NewReader("body"), 0, 4)
		time.Sleep(50 * time.Second)
		if _, err := io.ReadAll(body); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Second)
		if err := g.Context().Err(); err != nil {
			t.Fatalf("reading the body is no progress: %v", err)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		err := g.Err(g.Context().Err())
		if err == nil || errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "no progress for 1m0s") {
			t.Errorf("got %v", err)
		}
	})
}

// Each commit of an idle database is a body of a few KiB, read once more for signing. The
// race detector drops a quarter of the buffers that are put back.
func TestBodyIsCopiedThroughOneBuffer(t *testing.T) {
	g := NewGuard(t.Context(), time.Minute)
	defer g.Stop()
	const copies = 200
	text := strings.Repeat("body", 20<<10)
	hash := sha256.New()
	want := sha256.Sum256([]byte(text[1:]))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range copies {
		hash.Reset()
		n, err := io.Copy(hash, g.Body(strings.NewReader(text), 1, int64(len(text)-1)))
		if err != nil || n != int64(len(text)-1) || [32]byte(hash.Sum(nil)) != want {
			t.Fatal(n, err)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / copies; each > 16<<10 {
		t.Errorf("%d bytes are allocated for each copy", each)
	}
}

// TestGuardLeavesErrors: only the guard's own cancellation is renamed.
func TestGuardLeavesErrors(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	g := NewGuard(ctx, time.Minute)
	defer g.Stop()
	if err := g.Err(io.ErrUnexpectedEOF); err != io.ErrUnexpectedEOF {
		t.Errorf("got %v", err)
	}
	cancel()
	if err := g.Err(g.Context().Err()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if g.Err(nil) != nil {
		t.Error("success is an error")
	}
}

func TestRoot(t *testing.T) {
	for path, want := range map[string]string{"": "", "/": "", "/a": "a", "/a/b/": "a/b", "//a//b": "a/b", "/../a": "a"} {
		if got := Root(&url.URL{Path: path}); got != want {
			t.Errorf("%q: got %q, want %q", path, got, want)
		}
	}
}

// TestHold: a stream stops before the byte that creates the object, and continues or ends
// as Ready says.
func TestHold(t *testing.T) {
	for _, refusal := range []error{nil, errors.New("disk failed")} {
		g := NewGuard(t.Context(), time.Hour)
		defer g.Stop()
		asked := 0
		r := g.Hold(strings.NewReader("0123456789"), 9, storage.Attrs{Ready: func() error { asked++; return refusal }})
		if err := iotest.TestReader(io.LimitReader(r, 9), []byte("012345678")); err != nil || asked != 0 {
			t.Errorf("%v, asked %d times", err, asked)
		}
		rest, err := io.ReadAll(r)
		if asked != 1 || !errors.Is(err, refusal) || err == nil && string(rest) != "9" {
			t.Errorf("got %q, %v, asked %d times", rest, err, asked)
		}
		if (g.Context().Err() != nil) != (refusal != nil) || !errors.Is(g.Err(g.Context().Err()), refusal) {
			t.Errorf("operation: %v", g.Err(g.Context().Err()))
		}
	}
}
