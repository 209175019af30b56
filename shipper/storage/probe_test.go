package storage_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
	_ "github.com/walvfs/walvfs/shipper/storage/file"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// faulty is a store whose creates do something wrong.
type faulty struct {
	storage.Store
	create func(ctx context.Context, s storage.Store, key string, body storage.Body, attrs storage.Attrs) error
}

func (f faulty) Create(ctx context.Context, key string, body storage.Body, attrs storage.Attrs) error {
	return f.create(ctx, f.Store, key, body, attrs)
}

// overwrite is a create without its condition.
func overwrite(ctx context.Context, s storage.Store, key string, body storage.Body, attrs storage.Attrs) error {
	for {
		err := s.Create(ctx, key, body, attrs)
		if !errors.Is(err, storage.ErrExists) {
			return err
		}
		if err := s.Delete(ctx, key); err != nil {
			return err
		}
	}
}

type createFunc func(ctx context.Context, s storage.Store, key string, body storage.Body, attrs storage.Attrs) error

func honest(ctx context.Context, s storage.Store, key string, body storage.Body, attrs storage.Attrs) error {
	return s.Create(ctx, key, body, attrs)
}

// onRace breaks creates in the probe's race only.
func onRace(broken createFunc) createFunc {
	return func(ctx context.Context, s storage.Store, key string, body storage.Body, attrs storage.Attrs) error {
		if strings.HasSuffix(key, "-race") {
			return broken(ctx, s, key, body, attrs)
		}
		return s.Create(ctx, key, body, attrs)
	}
}

// fails returns an error, without or after doing its work.
func fails(err error, after bool) createFunc {
	return func(ctx context.Context, s storage.Store, key string, body storage.Body, attrs storage.Attrs) error {
		if after {
			if err := s.Create(ctx, key, body, attrs); err != nil {
				return err
			}
		}
		return err
	}
}

// lies reports that the object exists, but still replaces it.
func lies(ctx context.Context, s storage.Store, key string, body storage.Body, attrs storage.Attrs) error {
	if err := s.Create(ctx, key, body, attrs); !errors.Is(err, storage.ErrExists) {
		return err
	}
	return errors.Join(overwrite(ctx, s, key, body, attrs), storage.ErrExists)
}

func TestProbe(t *testing.T) {
	down := errors.New("connection refused")
	for _, c := range []struct {
		name   string
		create createFunc
		want   storage.Condition
		err    error
	}{
		{"Supported", honest, storage.ConditionSupported, nil},
		{"Ignored", overwrite, storage.ConditionIgnored, nil},
		{"IgnoredInRace", onRace(overwrite), storage.ConditionIgnored, nil},
		{"Lies", lies, storage.ConditionIgnored, nil},
		{"Refused", fails(storage.ErrNoCondition, false), storage.ConditionRefused, nil},
		{"Down", fails(down, false), storage.ConditionUnknown, down},
		{"DownInRace", onRace(fails(down, false)), storage.ConditionUnknown, down},
		// A repeated request that meets its own success gets the answer "exists".
		{"AnswersLost", fails(storage.ErrExists, true), storage.ConditionSupported, nil},
		{"AllExists", fails(storage.ErrExists, false), storage.ConditionUnknown, storage.ErrNotExist},
	} {
		t.Run(c.name, func(t *testing.T) {
			var creates atomic.Int32
			store := storagetest.File(t).Open(t)
			probed := faulty{store, func(ctx context.Context, s storage.Store, key string, body storage.Body, attrs storage.Attrs) error {
				creates.Add(1)
				if !strings.HasPrefix(key, storage.ProbePrefix) {
					t.Errorf("key %q", key)
				}
				for _, l := range []format.Layout{format.LayoutHex, format.LayoutDecimal} {
					if _, ok := l.Parse(key); ok {
						t.Errorf("%q is a level's file", key)
					}
				}
				return c.create(ctx, s, key, body, attrs)
			}}
			got, err := storage.Probe(t.Context(), probed)
			if got != c.want || !errors.Is(err, c.err) {
				t.Errorf("got %v, %v, want %v, %v", got, err, c.want, c.err)
			}
			for o, err := range store.List(t.Context(), "", "") {
				t.Errorf("left behind: %v, %v", o, err)
			}
			if n := creates.Load(); n > 6 {
				t.Errorf("%d creates", n)
			}
		})
	}
}

// TestProbeCancelled: a cancelled probe still cleans up.
func TestProbeCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	store := storagetest.File(t).Open(t)
	probed := faulty{store, func(ctx context.Context, s storage.Store, key string, body storage.Body, attrs storage.Attrs) error {
		defer cancel()
		return s.Create(ctx, key, body, attrs)
	}}
	if got, err := storage.Probe(ctx, probed); got != storage.ConditionUnknown || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v", got, err)
	}
	for o, err := range store.List(t.Context(), "", "") {
		t.Errorf("left behind: %v, %v", o, err)
	}
}
