package tests

import (
	"maps"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
	"github.com/walvfs/walvfs/vfs/reader/diff"
)

// requireDiffs fails unless a table of ids and blobs differs between TXIDs of a replica
// as it does between the restored databases: between several consecutive TXIDs, and
// between the first and the last TXID.
func requireDiffs(t *testing.T, r *storagetest.Replica, store storage.Store, table string) {
	t.Helper()
	files, err := replica.All(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	points := files.Restorable()
	for i := 1; i < len(points); i += 1 + len(points)/8 {
		requireDiff(t, r, store, table, points[i-1], points[i])
	}
	requireDiff(t, r, store, table, points[0], points[len(points)-1])
}

func requireDiff(t *testing.T, r *storagetest.Replica, store storage.Store, table string, from, to format.TXID) {
	t.Helper()
	got, want := map[int64]string{}, map[int64]string{}
	a := dbtest.Open(t, open(r, "&txid="+from.String()))
	defer a.Close()
	b := dbtest.Open(t, open(r, "&txid="+to.String()))
	defer b.Close()
	d, err := diff.New(t.Context(), a, b, diff.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, t1 := range d.Tables {
		if t1.Name != table {
			continue
		}
		err := d.Rows(t.Context(), t1, func(c diff.Change) error {
			got[max(c.OldRowid, c.NewRowid)] = c.Op.String()
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	old, now := restoredRows(t, store, table, from), restoredRows(t, store, table, to)
	for id, data := range old {
		if other, ok := now[id]; !ok {
			want[id] = "delete"
		} else if other != data {
			want[id] = "update"
		}
	}
	for id := range now {
		if _, ok := old[id]; !ok {
			want[id] = "insert"
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("TXID %s to %s: %d rows differ, want %d", from, to, len(got), len(want))
	}
}

func restoredRows(t *testing.T, store storage.Store, table string, txid format.TXID) map[int64]string {
	t.Helper()
	_, conn := dbtest.Restored(t, store, txid)
	defer conn.Close()
	rows := map[int64]string{}
	if dbtest.Query(t, conn, "SELECT count(*) FROM sqlite_schema WHERE name = '"+table+"'") == "0" {
		return rows
	}
	stmt, _, err := conn.Prepare("SELECT id, data FROM " + table)
	if err != nil {
		t.Fatal(err)
	}
	defer stmt.Close()
	for stmt.Step() {
		rows[stmt.ColumnInt64(0)] = string(stmt.ColumnBlob(1, nil))
	}
	if err := stmt.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}
