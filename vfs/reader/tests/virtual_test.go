package tests

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3/ext/fts5"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
	"github.com/walvfs/walvfs/vfs/reader/diff"
)

// The content of a virtual table is compared, and undone, in its shadow tables, without
// the module.
func TestVirtualTables(t *testing.T) {
	r := storagetest.File(t)
	path := filepath.Join(t.TempDir(), "app.db")
	w := dbtest.Open(t, dbtest.URI(path, dbtest.ReplicaURL(r.URL)))
	if err := fts5.Register(w); err != nil {
		t.Fatal(err)
	}
	commit := func(sql ...string) format.TXID {
		dbtest.Exec(t, w, sql...)
		txid, err := vfs.TXID(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		return txid
	}
	from := commit("CREATE VIRTUAL TABLE docs USING fts5(body)", "INSERT INTO docs VALUES ('red apple'), ('green pear')")
	to := commit("DELETE FROM docs WHERE rowid = 1", "INSERT INTO docs VALUES ('blue plum')")
	w.Close()

	a := dbtest.Open(t, open(r, "&txid="+from.String()))
	b := dbtest.Open(t, open(r, "&txid="+to.String()))
	d, err := diff.New(t.Context(), a, b, diff.Options{})
	if err != nil {
		t.Fatal(err)
	}
	content := d.Tables[slices.IndexFunc(d.Tables, func(t *diff.Table) bool { return t.Name == "docs_content" })]
	rows := 0
	if err := d.Rows(t.Context(), content, func(diff.Change) error { rows++; return nil }); err != nil || rows != 2 || !slices.Equal(d.Virtual, []string{"docs"}) {
		t.Errorf("%d rows of the content, virtual %q, %v", rows, d.Virtual, err)
	}
	var sql strings.Builder
	if _, err := d.Undo(t.Context(), &sql, d.Tables); err != nil {
		t.Fatal(err)
	}
	_, conn := dbtest.Restored(t, r.Open(t), to)
	defer conn.Close()
	dbtest.Exec(t, conn, sql.String())
	if err := fts5.Register(conn); err != nil {
		t.Fatal(err)
	}
	dbtest.Exec(t, conn, "INSERT INTO docs(docs) VALUES ('integrity-check')")
	if got := dbtest.Query(t, conn, "SELECT (SELECT count(*) FROM docs('apple')) || (SELECT count(*) FROM docs('plum'))"); got != "10" {
		t.Errorf("undone: %s", got)
	}
}
