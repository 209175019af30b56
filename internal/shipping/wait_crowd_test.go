package shipping_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/walvfs/walvfs/internal/shipping"
)

// Many callers that commit again and again share each upload, and do not split into two
// groups that take turns. A single caller does not wait for others.
func TestCrowd(t *testing.T) {
	const rounds, upload = 20, 100 * time.Millisecond
	for _, clients := range []int{1, 10} {
		synctest.Test(t, func(t *testing.T) {
			store, db := newStore(t), newDB(20)
			s := shipping.New(db, store, shipping.Options{})
			defer s.Close()
			drain(t, s)
			n := created(store)
			store.SetBefore(func(_ context.Context, op, _ string) error {
				if op == "create" {
					time.Sleep(upload)
				}
				return nil
			})
			began := time.Now()
			var group sync.WaitGroup
			for i := range clients {
				group.Go(func() {
					for range rounds {
						time.Sleep(time.Duration(i+1) * 500 * time.Microsecond)
						db.commit(uint32(i + 1))
						s.Wake()
						if err := s.Wait(t.Context(), shipping.Commit{}); err != nil {
							t.Error(err)
						}
					}
				})
			}
			group.Wait()
			// The first round is not gathered: no caller was answered before.
			if got := n.Load(); got > rounds+2 {
				t.Errorf("%d clients: %d uploads for %d rounds", clients, got, rounds)
			}
			if took := time.Since(began); took > (rounds+2)*upload*112/100 {
				t.Errorf("%d clients: %s for %d rounds", clients, took, rounds)
			}
		})
	}
}
