package storage_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// placed is a store in a bucket of its own name.
type placed struct {
	faulty
	bucket string
}

func (p placed) Place() string  { return p.bucket + "/" + p.String() }
func (p placed) Bucket() string { return p.bucket }

// wrapped is a store that hides everything of another store except Unwrap.
type wrapped struct{ storage.Store }

func (w wrapped) Unwrap() storage.Store { return w.Store }

// TestCheckFencing: CheckFencing probes a bucket once, and does not use its answer for
// another bucket, although the URL is the same.
func TestCheckFencing(t *testing.T) {
	var creates atomic.Int32
	counted := func(ctx context.Context, s storage.Store, key string, body storage.Body, attrs storage.Attrs) error {
		creates.Add(1)
		return s.Create(ctx, key, body, attrs)
	}
	store := &storagetest.Memory{Name: "bucket/app"}
	at := func(endpoint string, create createFunc) storage.Store {
		return wrapped{placed{faulty{store, create}, t.Name() + endpoint}}
	}
	if err := storage.CheckFencing(t.Context(), at("one", counted)); err != nil {
		t.Fatal(err)
	}
	asked := creates.Load()
	if err := storage.CheckFencing(t.Context(), at("one", counted)); err != nil || creates.Load() != asked {
		t.Errorf("%v, %d creates after %d", err, creates.Load(), asked)
	}
	for range 2 { // a refusal is not remembered: the bucket may change
		err := storage.CheckFencing(t.Context(), at("two", overwrite))
		if !errors.Is(err, storage.ErrNoCondition) || !storage.Refused(err) || !strings.Contains(err.Error(), "fencing=off") {
			t.Errorf("got %v", err)
		}
	}
	if err := storage.CheckFencing(t.Context(), at("two", honest)); err != nil {
		t.Error(err)
	}
	down := errors.New("connection refused")
	if err := storage.CheckFencing(t.Context(), at("three", fails(down, false))); !errors.Is(err, down) {
		t.Errorf("got %v", err)
	}
}

func TestBucket(t *testing.T) {
	for url, want := range map[string]string{"memory://b/app": "memory://b", "memory:///app": "memory:///app"} {
		if got := storage.Bucket(&storagetest.Memory{Name: strings.TrimPrefix(url, "memory://")}); got != want {
			t.Errorf("%s: got %s, want %s", url, got, want)
		}
	}
	s := wrapped{wrapped{placed{faulty{&storagetest.Memory{Name: "m"}, honest}, "endpoint/b"}}}
	if storage.Bucket(s) != "endpoint/b" || storage.Place(s) != "endpoint/b/memory://m" {
		t.Errorf("bucket %s, place %s", storage.Bucket(s), storage.Place(s))
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{storage.ErrPermission, false}, // from a local file
		{&storage.Error{Err: storage.ErrPermission}, true},
		{&storage.Error{Err: storage.ErrNoBucket}, true},
		{&storage.Error{Err: storage.ErrNoCondition}, true},
		{&storage.Error{Err: storage.ErrRefused}, true},
		{&storage.Error{Err: storage.ErrExists}, false},
		{&storage.Error{Err: storage.ErrNotExist}, false},
		{&storage.Error{Err: context.DeadlineExceeded}, false},
	} {
		if got := storage.Refused(c.err); got != c.want {
			t.Errorf("%v: got %v", c.err, got)
		}
	}
}
