package vfs_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3/driver"

	"github.com/walvfs/walvfs/vfs"
)

// Every way of committing through database/sql returns ErrUnconfirmed.
func TestUnconfirmedDatabaseSQL(t *testing.T) {
	store := newReplica(t)
	path := filepath.Join(t.TempDir(), "app.db")
	exec(t, open(t, uri(path, store, "close_timeout=1ms")), "CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
	settled(t, path)
	db, err := driver.Open(uri(path, store, "durability=sync", "sync_timeout=30ms", "close_timeout=1ms"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	down(store)
	for name, do := range map[string]func(ctx context.Context) error{
		"exec": func(ctx context.Context) error {
			_, err := db.ExecContext(ctx, "INSERT INTO t(x) VALUES (1)")
			return err
		},
		"returning": func(ctx context.Context) error {
			var id int
			return db.QueryRowContext(ctx, "INSERT INTO t(x) VALUES (?) RETURNING id", 1).Scan(&id)
		},
		"returning, rows": func(ctx context.Context) error {
			rows, err := db.QueryContext(ctx, "INSERT INTO t(x) VALUES (1), (2) RETURNING id")
			if err != nil {
				return err
			}
			for rows.Next() {
			}
			return errors.Join(rows.Err(), rows.Close())
		},
		"returning, rows closed early": func(ctx context.Context) error {
			rows, err := db.QueryContext(ctx, "INSERT INTO t(x) VALUES (1), (2) RETURNING id")
			if err != nil {
				return err
			}
			rows.Next()
			return rows.Close()
		},
		"prepared": func(ctx context.Context) error {
			stmt, err := db.PrepareContext(ctx, "INSERT INTO t(x) VALUES (?) RETURNING id")
			if err != nil {
				return err
			}
			defer stmt.Close()
			var id int
			return stmt.QueryRowContext(ctx, 1).Scan(&id)
		},
		"tx": func(ctx context.Context) error {
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer tx.Rollback()
			if _, err := tx.ExecContext(ctx, "INSERT INTO t(x) VALUES (1)"); err != nil {
				return err
			}
			return tx.Commit()
		},
	} {
		for _, cancellable := range []bool{false, true} {
			ctx := context.Background()
			if cancellable {
				c, cancel := context.WithTimeout(ctx, time.Minute)
				defer cancel()
				ctx = c
			}
			if err := do(ctx); !errors.Is(err, vfs.ErrUnconfirmed) {
				t.Errorf("%s (cancellable %t): %v", name, cancellable, err)
			}
		}
	}
	store.SetBefore(nil)
	settled(t, path)
	if err := db.QueryRow("SELECT count(*) FROM t").Scan(new(int)); err != nil {
		t.Error(err)
	}
}
