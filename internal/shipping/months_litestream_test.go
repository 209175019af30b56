package shipping_test

import (
	"bytes"
	"context"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/file"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// secondOpinion restores some of the restorable TXIDs of a life with Litestream, and
// fails unless our restore returns the same database.
func (l *life) secondOpinion(t *testing.T) {
	t.Helper()
	litestream := storagetest.Litestream(t)
	u := &url.URL{Scheme: "file", Path: filepath.Join(t.TempDir(), "replica")}
	copied, err := file.Open(u, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	copyReplica(t, copied, l.store)
	files, err := replica.All(context.Background(), copied)
	if err != nil {
		t.Fatal(err)
	}
	points := files.Restorable()
	for _, i := range []int{0, l.rng.IntN(len(points)), l.rng.IntN(len(points)), len(points) - 1} {
		txid, dir := points[i], t.TempDir()
		ours, theirs := filepath.Join(dir, "ours.db"), filepath.Join(dir, "theirs.db")
		if _, err := restore.Restore(context.Background(), copied, ours, restore.Options{TXID: txid}); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(litestream, "restore", "-o", theirs, "-txid", txid.String(), u.String()).CombinedOutput(); err != nil {
			t.Fatalf("TXID %s: litestream restore: %v\n%s", txid, err, out)
		}
		a, err := os.ReadFile(ours)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(theirs)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("TXID %s: Litestream restores something else", txid)
		}
	}
}

func copyReplica(t *testing.T, to, from storage.Store) {
	t.Helper()
	for obj, err := range from.List(context.Background(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		f, ok := from.Layout().Parse(obj.Key)
		if !ok {
			continue
		}
		r, attrs, err := from.Open(context.Background(), obj.Key, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		if err := to.Create(context.Background(), to.Layout().Key(f.Level, f.MinTXID, f.MaxTXID), bytes.NewReader(b), attrs); err != nil {
			t.Fatal(err)
		}
	}
}
