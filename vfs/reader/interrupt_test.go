package reader_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/vfs/internal/dbtest"
	"github.com/walvfs/walvfs/vfs/reader/internal/readertest"
)

// An interrupt ends any wait of a connection, while other connections with the same wait
// continue. The store is not at fault: it is asked again immediately.
func TestInterrupt(t *testing.T) {
	store := dbtest.NewReplica(t)
	w := newWriter(t, store, 4096)
	dbtest.Exec(t, w.Conn, "INSERT INTO pad SELECT NULL, randomblob(900) FROM generate_series(1, 2000)")
	w.commit(1)
	w.close()
	for _, sql := range []string{"SELECT count(*) FROM pad NOT INDEXED", "PRAGMA walvfs_verify", "PRAGMA walvfs_wait_txid=ffff"} {
		t.Run(sql, func(t *testing.T) {
			conn := dbtest.Open(t, uri(store))
			other := dbtest.Open(t, uri(store))
			held, started := make(chan struct{}), make(chan struct{}, 100)
			store.SetBefore(func(ctx context.Context, _, _ string) error {
				select {
				case started <- struct{}{}:
				default:
				}
				select {
				case <-held:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
				return nil
			})
			defer store.SetBefore(nil)
			ctx, cancel := context.WithCancel(t.Context())
			conn.SetInterrupt(ctx)
			done, shared := make(chan error), make(chan error, 1)
			go func() { done <- conn.Exec(sql) }()
			<-started
			go func() { shared <- other.Exec("SELECT count(*) FROM pad NOT INDEXED") }()
			cancel()
			if err := <-done; !errors.Is(err, sqlite3.INTERRUPT) {
				t.Errorf("%v", err)
			}
			conn.SetInterrupt(t.Context())
			if got := dbtest.Query(t, conn, "PRAGMA walvfs_status"); strings.Contains(got, `"error"`) {
				t.Errorf("the interrupt counts as the store's failure: %s", got)
			}
			close(held)
			if err := <-shared; err != nil {
				t.Errorf("the other connection: %v", err)
			}
			readertest.RequireRestored(t, conn, store, 0)
			if got := dbtest.Query(t, conn, "PRAGMA walvfs_verify"); got != "ok" {
				t.Error(got)
			}
		})
	}
}
