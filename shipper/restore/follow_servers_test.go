package restore_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

var followServers = map[string]func(testing.TB) *storagetest.Replica{"s3": storagetest.S3, "gcs": storagetest.GCS}

// A copy follows what Litestream writes, compacts and removes, over connections that
// are slow, cut and gone, and who reads it sees one commit after another.
func TestFollowServers(t *testing.T) {
	for name, replica := range followServers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testFollowServer(t, replica(t))
		})
	}
}

func testFollowServer(t *testing.T, direct *storagetest.Replica) {
	// The other proxy is for the GCS server, which must be called by its name.
	pass := func(w http.ResponseWriter, req *http.Request, next http.Handler) { next.ServeHTTP(w, req) }
	proxy := direct.Proxy(t, pass).Toxiproxy(t)
	live := newReplicated(t, direct)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(proxy.Add(storagetest.Answers, 1, storagetest.Latency(40*time.Millisecond, 30*time.Millisecond)))
	store := &levelStore{Store: proxy.Open(t)}
	f := followOnce(t, store, direct.Open(t))
	reader := newReading(t, f.path)
	moved := func(when string) {
		t.Helper()
		to := tip(t, live.store) + 1
		f.until(when, func(r restore.Followed) bool { return r.TXID >= to })
	}
	again := func(when string) { // new connections, without the fault
		t.Helper()
		check(proxy.Down())
		check(proxy.Up())
		moved(when)
	}
	moved("answers come late")
	again("answers come in time")
	check(proxy.Add(storagetest.Requests, 1, storagetest.ResetPeer(0)))
	store.fails()
	again("connections are not reset")
	check(proxy.Add(storagetest.Answers, 1, storagetest.LimitData(900)))
	store.fails()
	again("answers are not cut")
	check(proxy.Down())
	store.fails()
	live.untilGone(f.seen[len(f.seen)-1].TXID + 1)
	again("the store is back")

	live.stop()
	newest := tip(t, live.store)
	if f.seen[len(f.seen)-1].TXID < newest {
		f.at(newest)
	}
	f.stop()
	reader.stop()
	requireCopy(t, live.store, f.path, newest)
	live.requireLitestream(f.path)
	levels := store.levels()
	t.Logf("at TXID %s, %d reports, files of each level opened: %v; %s", newest, len(f.seen), levels, reader)
	if levels[0] == 0 || levels[1] == 0 {
		t.Errorf("levels 0 and 1 were to be read: %v", levels)
	}
}

// followOnce waits until there is something to follow.
func followOnce(t *testing.T, store, direct storage.Store) *following {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); tip(t, direct) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("there is no replica")
		}
	}
	f := follow(t, store, filepath.Join(t.TempDir(), "copy.db"), restore.FollowOptions{})
	f.until("the copy", func(restore.Followed) bool { return true })
	return f
}

// levelStore counts the files of each level that are opened, and failures.
type levelStore struct {
	storage.Store
	opened [format.LevelSnapshot + 1]atomic.Int64
	failed atomic.Int64
}

func (s *levelStore) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, storage.Attrs, error) {
	r, attrs, err := s.Store.Open(ctx, key, offset, length)
	if info, ok := s.Layout().Parse(key); ok && err == nil && length != 1 {
		s.opened[info.Level].Add(1)
	}
	s.note(err)
	return r, attrs, err
}

func (s *levelStore) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		for o, err := range s.Store.List(ctx, prefix, after) {
			s.note(err)
			if !yield(o, err) {
				return
			}
		}
	}
}

func (s *levelStore) note(err error) {
	if err != nil && !errors.Is(err, storage.ErrNotExist) {
		s.failed.Add(1)
	}
}

// fails waits until something failed.
func (s *levelStore) fails() {
	for before := s.failed.Load(); s.failed.Load() == before; time.Sleep(time.Millisecond) {
	}
}

func (s *levelStore) levels() (n []int64) {
	for i := range s.opened {
		n = append(n, s.opened[i].Load())
	}
	return n
}

// What a quiet replica costs is a small request a poll, and now and then a listing.
func TestFollowQuietRequests(t *testing.T) {
	t.Parallel()
	direct := storagetest.S3(t)
	l := newLive(t, 4096)
	l.commit(schema)
	store := l.store()
	copyObject(t, store, direct.Open(t), listed(t, store)[0])
	var lists, others atomic.Int64
	behind := direct.Proxy(t, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if req.URL.Query().Has("list-type") {
			lists.Add(1)
		} else {
			others.Add(1)
		}
		next.ServeHTTP(w, req)
	})
	f := follow(t, behind.Open(t), filepath.Join(t.TempDir(), "copy.db"), restore.FollowOptions{})
	f.at(1)
	for others.Load() < 50 { // of the restore, and so on
		time.Sleep(time.Millisecond)
	}
	before := lists.Load()
	for others.Load() < 50+2*300+10 { // two polls of all levels, which open a file
		time.Sleep(time.Millisecond)
	}
	if n := lists.Load() - before; n < 20 || n > 24 {
		t.Errorf("%d listings in 600 polls", n)
	}
	f.stop()
}

func listed(t *testing.T, store storage.Store) []format.FileInfo {
	t.Helper()
	files, err := restore.ListFiles(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func copyObject(t *testing.T, from, to storage.Store, f format.FileInfo) {
	t.Helper()
	r, attrs, err := from.Open(t.Context(), from.Layout().Key(f.Level, f.MinTXID, f.MaxTXID), 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err == nil {
		err = to.Create(t.Context(), to.Layout().Key(f.Level, f.MinTXID, f.MaxTXID), strings.NewReader(string(b)), attrs)
	}
	if err != nil {
		t.Fatal(err)
	}
}
