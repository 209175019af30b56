package vfs_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/driver"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/vfs"
)

// A program that has only the error of a transaction, as from database/sql, can log why
// the transaction failed, and test for it: the explained error matches its code and its
// cause.
func TestErrorsSayWhy(t *testing.T) {
	for _, test := range []struct {
		name, params string
		fenced       bool // otherwise the store is down
		code         error
		cause        error
		says         string
	}{
		{"unconfirmed", "durability=sync&sync_timeout=50ms", false, vfs.ErrUnconfirmed, errInjected, "sync_timeout=50ms is over"},
		{"too far behind", "max_lag=1ms", false, vfs.ErrLag, vfs.ErrLag, "behind (max_lag=1ms)"},
		{"fenced", "on_fenced=readonly", true, vfs.ErrFenced, shipper.ErrFenced, "another writer has taken over"},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := newReplica(t)
			path := filepath.Join(t.TempDir(), "app.db")
			db, err := driver.Open(uri(path, store, test.params, "close_timeout=1ms"))
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			db.SetMaxOpenConns(1)
			if _, err := db.Exec("CREATE TABLE t (x)"); err != nil {
				t.Fatal(err)
			}
			tip := settled(t, path)
			if test.fenced {
				put(t, store, store.Layout().Key(format.LevelRaw, tip+1, tip+1), []byte("another writer's"))
			} else {
				down(store)
			}
			eventually(t, "a transaction fails", func() bool {
				_, err = db.Exec("INSERT INTO t VALUES (1)")
				return errors.Is(err, test.code)
			})
			handle, lookupErr := vfs.Lookup(path)
			if lookupErr != nil {
				t.Fatal(lookupErr)
			}
			explained := handle.Explain(err)
			if !strings.Contains(explained.Error(), test.says) {
				t.Errorf("%q does not say %q", explained, test.says)
			}
			for _, want := range []error{test.code, test.cause, sqlite3.IOERR} {
				if !errors.Is(explained, want) {
					t.Errorf("%v is not %v", explained, want)
				}
			}
			_, syntax := db.Exec("SELECT")
			if other := handle.Explain(syntax); other != syntax {
				t.Errorf("another error became %v", other)
			}
			if handle.Explain(nil) != nil {
				t.Error("no error became one")
			}
		})
	}
}
