package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/walvfs/walvfs/shipper/storage"
)

// race tests invariant 4, One log, as far as a store can hold it: of many writers of a
// key exactly one succeeds, and the object has its content.
func race(t *testing.T, s *suite) {
	for round := range 10 {
		contents := make([]string, 16)
		for i := range contents {
			contents[i] = strings.Repeat(fmt.Sprintf("writer %d;", i), 1+100*i)
		}
		s.race(fmt.Sprintf("race/%d", round), contents)
	}
}

func raceLarge(t *testing.T, s *suite) {
	contents := make([]string, 3)
	for i := range contents {
		contents[i] = string(largeBody(uint64(i)))
	}
	s.race("race/large", contents)
}

func (s *suite) race(key string, contents []string) {
	s.Helper()
	var wg sync.WaitGroup
	errs := make([]error, len(contents))
	start := make(chan struct{})
	for i, c := range contents {
		wg.Go(func() {
			<-start
			errs[i] = s.store.Create(s.Context(), key, content(c), storage.Attrs{Time: someTime, WriteID: fmt.Sprint(i)})
		})
	}
	close(start)
	wg.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err != nil && !errors.Is(err, storage.ErrExists):
			s.Errorf("writer %d: %v", i, err)
		case err == nil && winner >= 0:
			s.Errorf("writers %d and %d both created %s", winner, i, key)
		case err == nil:
			winner = i
		}
	}
	if winner < 0 {
		s.Fatalf("nobody created %s", key)
	}
	s.want(key, contents[winner])
	_, attrs := s.read(key, 0, 1)
	s.wantAttrs(attrs, fmt.Sprint(winner))
}

func largeBody(seed uint64) []byte {
	b := make([]byte, LargeSize)
	key := [32]byte{byte(seed), 'w'}
	rand.NewChaCha8(key).Read(b)
	return b
}

func large(t *testing.T, s *suite) {
	body := largeBody(7)
	err := s.store.Create(t.Context(), "large", bytes.NewReader(body), storage.Attrs{Time: someTime, WriteID: "w"})
	if err != nil {
		t.Fatal(err)
	}
	got, attrs := s.read("large", 0, -1)
	if !bytes.Equal(got, body) {
		t.Fatalf("%d bytes came back changed (%d)", len(body), len(got))
	}
	s.wantAttrs(attrs, "w")
	if got, _ := s.read("large", 7<<20-3, 1<<20); !bytes.Equal(got, body[7<<20-3:8<<20-3]) {
		t.Error("a range in the middle came back changed")
	}
	err = s.store.Create(t.Context(), "large", bytes.NewReader(largeBody(8)), storage.Attrs{})
	if !errors.Is(err, storage.ErrExists) {
		t.Errorf("replaced: %v", err)
	}
	if got, _ := s.read("large", 0, 1<<10); !bytes.Equal(got, body[:1<<10]) {
		t.Error("the content is the loser's")
	}
}

// broken is a body that fails, or ends, before its size.
type broken struct {
	size, good int64
	err        error
}

var errBroken = errors.New("the disk is on fire")

func (b broken) Size() int64 { return b.size }

func (b broken) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.good {
		return int(max(0, b.good-off)), b.err
	}
	return len(p), nil
}

func failingBody(t *testing.T, s *suite) {
	for _, b := range []broken{
		{100, 0, errBroken},
		{100, 50, errBroken},
		{1 << 20, 1 << 19, errBroken},
		{LargeSize, LargeSize - 1, errBroken},
		{LargeSize, 6 << 20, errBroken},
		{100, 50, io.EOF}, // shorter than stated
		{LargeSize, LargeSize - 1, io.EOF},
	} {
		err := s.store.Create(t.Context(), "k", b, storage.Attrs{Time: someTime})
		if err == nil {
			t.Fatalf("%+v: created", b)
		}
		if b.err == errBroken && !errors.Is(err, errBroken) {
			t.Errorf("%+v: the cause is lost: %v", b, err)
		}
		s.typed(err, "create")
		s.wantAbsent("k")
	}
	s.create("k", "whole") // nothing remains
}

// ready tests that a delayed object does not exist before it may.
func ready(t *testing.T, s *suite) {
	for key, size := range map[string]int{"small": 100, "large": LargeSize} {
		body := bytes.NewReader(largeBody(1)[:size])
		attrs := storage.Attrs{Time: someTime, WriteID: "mine", Ready: func() error { return errBroken }}
		if err := s.store.Create(t.Context(), key, body, attrs); !errors.Is(err, errBroken) {
			t.Errorf("%s: %v", key, err)
		} else {
			s.typed(err, "create")
		}
		s.wantAbsent(key)

		called := false
		attrs.Ready = func() error {
			called = true
			s.wantAbsent(key)
			return nil
		}
		if err := s.store.Create(t.Context(), key, body, attrs); err != nil || !called {
			t.Errorf("%s: %v, Ready was called: %v", key, err, called)
		}
		r, got, err := s.store.Open(t.Context(), key, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		if got.Ready != nil || !got.Time.Equal(someTime) {
			t.Errorf("%s: read as %+v", key, got)
		}
	}
}

func cancelled(t *testing.T, s *suite) {
	s.create("k", "x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	check := func(op string, err error) {
		t.Helper()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want context.Canceled", op, err)
		}
		s.typed(err, op)
	}
	check("create", s.store.Create(ctx, "new", content("x"), storage.Attrs{}))
	check("delete", s.store.Delete(ctx, "k"))
	_, _, err := s.store.Open(ctx, "k", 0, -1)
	check("open", err)
	for _, err = range s.store.List(ctx, "", "") {
	}
	check("list", err)
	s.wantKeys("", "", "k")

	// Cancelled in the middle of the body.
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	err = s.store.Create(ctx, "new", &cancelling{broken{size: LargeSize, good: LargeSize}, cancel}, storage.Attrs{})
	check("create", err)
	s.wantAbsent("new")
}

type cancelling struct {
	broken
	cancel func()
}

func (c *cancelling) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > LargeSize/2 {
		c.cancel()
	}
	return c.broken.ReadAt(p, off)
}
