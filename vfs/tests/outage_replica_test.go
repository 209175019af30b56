package tests

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// requestBucket creates or deletes the bucket of a replica.
func requestBucket(t *testing.T, method string, r *storagetest.Replica) {
	t.Helper()
	u, err := url.Parse(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	signing := r.Proxy(t, func(w http.ResponseWriter, req *http.Request, next http.Handler) { next.ServeHTTP(w, req) })
	req, err := http.NewRequest(method, signing.Endpoint+"/"+u.Host, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		t.Fatalf("%s of the bucket: %s", method, resp.Status)
	}
}

// deleteBucket deletes a bucket and all its objects.
func deleteBucket(t *testing.T, r *storagetest.Replica) {
	t.Helper()
	store := r.Open(t)
	var keys []string
	for obj, err := range store.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, obj.Key)
	}
	if err := store.Delete(t.Context(), keys...); err != nil {
		t.Fatal(err)
	}
	requestBucket(t, http.MethodDelete, r)
}

// requireNoBucket waits until the status and the log contain the missing bucket and the
// remedy.
func (a *app) requireNoBucket() {
	a.t.Helper()
	a.retrying()
	a.requireSays("create the bucket, or correct its name", false)
	if st := a.status(); !errors.Is(st.Err, storage.ErrNoBucket) {
		a.t.Errorf("%+v", st)
	}
	eventually(a.t, "the log says so", func() bool { return len(a.log.With("level=ERROR")) > 0 })
	if n := len(a.log.With("level=ERROR", "bucket does not exist")); n != 1 {
		a.t.Errorf("the log says it %d times:\n%s", n, a.log.With(""))
	}
}

// Replication finds a bucket that is created after the application started, without a
// restart.
func TestBucketMadeLater(t *testing.T) {
	direct := storagetest.S3(t)
	deleteBucket(t, direct)
	a := newApp(t, direct)
	a.open()
	a.start()
	a.commitMore(50)
	a.requireNoBucket()
	a.commitMore(50)
	requestBucket(t, http.MethodPut, direct)
	a.settle()
	a.shipMore(2)
	a.end(direct)
}

// A bucket that was deleted and created again between two runs has lost the replica:
// replication uploads the whole database, and the log contains the reason.
func TestBucketDeletedBetweenRuns(t *testing.T) {
	direct := storagetest.S3(t)
	a := newApp(t, direct)
	a.open()
	a.start()
	a.shipMore(3)
	a.stop()
	a.settle()
	if err := a.db.Close(); err != nil {
		t.Fatal(err)
	}
	deleteBucket(t, direct)
	a.open()
	a.start()
	a.commitMore(50)
	a.requireNoBucket()
	requestBucket(t, http.MethodPut, direct)
	a.settle()
	if n := len(a.log.With("level=WARN", "uploading the whole database again", "the replica is empty, and was not")); n != 1 {
		t.Errorf("the log says %d times that the whole database is uploaded again:\n%s", n, a.log.With(""))
	}
	a.shipMore(2)
	a.end(direct)
}

// TestFutureTip: replication continues a replica whose newest file is from the future,
// written by a machine whose clock was ahead. The times of later files are those of this
// machine, and increase.
func TestFutureTip(t *testing.T) {
	for name, begin := range map[string]func(a *app, store storage.Store){
		"restored from it": func(a *app, store storage.Store) {
			if _, err := restore.Restore(a.t.Context(), store, a.path, restore.Options{}); err != nil {
				a.t.Fatal(err)
			}
			a.open()
		},
		"in spite of it": func(a *app, _ storage.Store) { a.open("diverged=overwrite") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			direct := storagetest.S3(t)
			store := direct.Open(t)
			future := time.Now().Add(24 * time.Hour).Truncate(time.Millisecond)
			writeAt(t, store, future)
			began := time.Now().Truncate(time.Millisecond)

			a := newApp(t, direct)
			begin(a, store)
			a.start()
			a.shipMore(3)
			a.stop()
			a.settle()
			if err := a.db.Close(); err != nil {
				t.Fatal(err)
			}
			a.open() // only the replica can give it the last time
			a.start()
			a.shipMore(3)
			a.stop()
			a.settle()
			requireTimes(t, store, began)
			a.end(direct)
		})
	}
}

// writeAt creates a replica of one file, written at a given time.
func writeAt(t *testing.T, store storage.Store, at time.Time) {
	t.Helper()
	memory := newReplica(t)
	path := filepath.Join(t.TempDir(), "ahead.db")
	conn := open(t, uri(path, memory))
	exec(t, conn, "CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)")
	settled(t, path)
	conn.Close()
	r, _, err := memory.Open(t.Context(), memory.Layout().Key(format.LevelRaw, 1, 1), 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	var enc *format.Encoder
	_, _, err = format.Decode(r, func(h format.LTXHeader, pgno uint32, page []byte) (err error) {
		if enc == nil {
			h.Timestamp = at.UnixMilli()
			if enc, err = format.NewEncoder(&b, h); err != nil {
				return err
			}
		}
		return enc.Page(pgno, page)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	key := store.Layout().Key(format.LevelRaw, 1, 1)
	if err := store.Create(t.Context(), key, bytes.NewReader(b.Bytes()), storage.Attrs{Time: at}); err != nil {
		t.Fatal(err)
	}
}

// requireTimes fails unless the times of a replica's files after the first file increase,
// from a time on, in the files and in their metadata.
func requireTimes(t *testing.T, store storage.Store, from time.Time) {
	t.Helper()
	last := from.Add(-time.Millisecond)
	for txid := format.TXID(2); txid <= lastTXID(t, store); txid++ {
		r, attrs, err := store.Open(t.Context(), store.Layout().Key(format.LevelRaw, txid, txid), 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		h, _, err := format.Decode(r, func(format.LTXHeader, uint32, []byte) error { return nil })
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
		at := time.UnixMilli(h.Timestamp)
		if !at.After(last) || !at.Equal(attrs.Time) {
			t.Errorf("TXID %s is of %s, beside it stands %s, and the one before it is of %s", txid, at, attrs.Time, last)
		}
		last = at
	}
}

// A bucket that is deleted and created again in the middle of a run is a new replica: it
// begins with every page.
func TestBucketDeleted(t *testing.T) {
	direct := storagetest.S3(t)
	a := newApp(t, direct)
	a.open()
	a.start()
	a.shipMore(3)
	a.stop() // otherwise an upload would arrive while the bucket is being emptied
	a.settle()
	deleteBucket(t, direct)
	a.start()
	a.commitMore(50)
	a.requireNoBucket()
	a.commitMore(50)
	requestBucket(t, http.MethodPut, direct)
	a.settle()
	a.shipMore(2)
	if n := len(a.log.With("level=WARN", "uploading the whole database again")); n != 1 {
		t.Errorf("the log says %d times that the whole database is uploaded again", n)
	}
	a.end(direct)
}
