package storage

import (
	"context"
	"fmt"
	"sync"
)

// fenced remembers the buckets, by [Bucket], in which put-if-absent is known to work.
var fenced sync.Map

// CheckFencing returns nil if the store honours put-if-absent for the small bodies that a
// probe sends. It probes each bucket once per process, see [Probe]. Otherwise the error
// wraps [ErrNoCondition], or says why the probe failed.
//
// A driver that sends large bodies by another operation checks that operation itself, in
// Create.
func CheckFencing(ctx context.Context, store Store) error {
	bucket := Bucket(store)
	if _, known := fenced.Load(bucket); known {
		return nil
	}
	condition, err := Probe(ctx, store)
	if err != nil {
		return err
	}
	if condition != ConditionSupported {
		return &Error{
			Op: "create", URL: store.String(),
			Err:  fmt.Errorf("%w, so that two writers could mix their histories: the condition is %s", ErrNoCondition, condition),
			Hint: HintNoCondition,
		}
	}
	fenced.Store(bucket, true)
	return nil
}

// HintNoCondition is the hint of errors that wrap [ErrNoCondition].
const HintNoCondition = "use another store, or set fencing=off and make sure that there is one writer"
