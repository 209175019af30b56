package storage

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Condition is a store's treatment of put-if-absent, which prevents two writers from both
// writing the next TXID.
type Condition int

const (
	ConditionUnknown   Condition = iota // the probe could not find out
	ConditionSupported                  // one of two writers of a key succeeds
	ConditionIgnored                    // both writers succeed: the second overwrites the first
	ConditionRefused                    // neither succeeds: the store rejects such requests
)

// String returns the verdict's name.
func (c Condition) String() string {
	switch c {
	case ConditionSupported:
		return "supported"
	case ConditionIgnored:
		return "ignored"
	case ConditionRefused:
		return "refused"
	}
	return "unknown"
}

// ProbePrefix is the prefix of the keys that [Probe] creates and removes.
const ProbePrefix = "walvfs-probe-"

// probeRacers is how many writers race. A service that checks the condition
// without holding the key rarely gets this many right.
const probeRacers = 4

// Probe finds out whether a store honours put-if-absent: it creates an object twice, then
// makes several writers race for another, and removes both. An error means that the probe
// failed; probe again. Objects that cannot be removed stay behind, which does no harm.
func Probe(ctx context.Context, store Store) (Condition, error) {
	key := ProbePrefix + rand.Text()
	defer CleanUp(ctx, func(ctx context.Context) error { return store.Delete(ctx, key, key+"-race") })
	if c, err := probeTwice(ctx, store, key); c != ConditionSupported || err != nil {
		return c, err
	}
	return probeRace(ctx, store, key+"-race")
}

func probeCreate(ctx context.Context, store Store, key, content string) error {
	return store.Create(ctx, key, bytes.NewReader([]byte(content)), Attrs{Time: time.Now(), WriteID: content})
}

func probeTwice(ctx context.Context, store Store, key string) (Condition, error) {
	err := probeCreate(ctx, store, key, "first")
	switch {
	case errors.Is(err, ErrNoCondition):
		return ConditionRefused, nil
	case errors.Is(err, ErrExists):
		// The key is unique to this probe: a repeated request met its own success.
	case err != nil:
		return ConditionUnknown, err
	}
	err = probeCreate(ctx, store, key, "second")
	switch {
	case errors.Is(err, ErrExists):
		return holds(ctx, store, key, "first")
	case errors.Is(err, ErrNoCondition):
		return ConditionRefused, nil
	case err != nil:
		return ConditionUnknown, err
	}
	return ConditionIgnored, nil
}

func probeRace(ctx context.Context, store Store, key string) (Condition, error) {
	var wg sync.WaitGroup
	errs := make([]error, probeRacers)
	for i := range errs {
		wg.Go(func() { errs[i] = probeCreate(ctx, store, key, racer(i)) })
	}
	wg.Wait()
	var winners []string
	var other error
	for i, err := range errs {
		switch {
		case err == nil:
			winners = append(winners, racer(i))
		case !errors.Is(err, ErrExists):
			other = err
		}
	}
	switch {
	case len(winners) > 1:
		return ConditionIgnored, nil
	case other != nil:
		return ConditionUnknown, other
	}
	return holds(ctx, store, key, winners...)
}

func racer(i int) string { return fmt.Sprintf("racer %d", i) }

// holds checks that the object has the winner's content: the answer "exists" proves
// nothing if the object was still replaced. Without a known winner, because all its
// answers were lost, any content is valid.
func holds(ctx context.Context, store Store, key string, winner ...string) (Condition, error) {
	r, _, err := store.Open(ctx, key, 0, -1)
	if err != nil {
		return ConditionUnknown, err
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	switch {
	case err != nil:
		return ConditionUnknown, err
	case len(winner) > 0 && string(got) != winner[0]:
		return ConditionIgnored, nil
	}
	return ConditionSupported, nil
}
