package tests

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore/follow"
	"github.com/walvfs/walvfs/shipper/restore/internal/followtest"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs"
)

var followServers = map[string]func(testing.TB) *storagetest.Replica{"s3": storagetest.S3, "gcs": storagetest.GCS}

// A copy follows a replica that Litestream writes, compacts and removes files from, over
// connections that are slow, cut and gone, and its readers see one commit after another.
func TestFollowServers(t *testing.T) {
	for name, replica := range followServers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testFollowServer(t, replica(t))
		})
	}
}

func testFollowServer(t *testing.T, direct *storagetest.Replica) {
	// The other proxy is for the GCS server, which expects its own name.
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
	reader := followtest.NewReading(t, f.Path)
	moved := func(when string) {
		t.Helper()
		to := followtest.Tip(t, live.store) + 1
		f.Until(when, func(r follow.Status) bool { return r.TXID >= to })
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
	store.fails(t)
	again("connections are not reset")
	check(proxy.Add(storagetest.Answers, 1, storagetest.LimitData(900)))
	store.fails(t)
	again("answers are not cut")
	check(proxy.Down())
	store.fails(t)
	store.fails(t) // operations in progress at the first failure have ended
	live.untilGone(f.Latest().TXID + 1)
	again("the store is back")

	live.stop()
	newest := followtest.Tip(t, live.store)
	if f.Seen[len(f.Seen)-1].TXID < newest {
		f.At(newest)
	}
	f.Stop()
	reader.Stop()
	followtest.RequireCopy(t, live.store, f.Path, newest)
	live.requireLitestream(f.Path)
	levels := store.levels()
	t.Logf("at TXID %s, %d reports, files of each level opened: %v; %s", newest, len(f.Seen), levels, reader)
	compacted := int64(0) // Litestream's timing decides which levels
	for _, n := range levels[1:format.LevelSnapshot] {
		compacted += n
	}
	if levels[0] == 0 || compacted == 0 {
		t.Errorf("level 0 and what it is compacted to were to be read: %v", levels)
	}
}

// followOnce follows once a replica exists.
func followOnce(t *testing.T, store, direct storage.Store) *followtest.Following {
	t.Helper()
	followtest.Eventually(t, "there is a replica", func() bool { return followtest.Tip(t, direct) > 0 })
	f := followtest.Follow(t, store, filepath.Join(t.TempDir(), "copy.db"), follow.Options{})
	f.Until("the copy", func(follow.Status) bool { return true })
	return f
}

// levelStore counts the opened files of each level, and failures.
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

// fails waits until an operation failed.
func (s *levelStore) fails(t *testing.T) {
	t.Helper()
	before := s.failed.Load()
	followtest.Eventually(t, "a request fails", func() bool { return s.failed.Load() > before })
}

func (s *levelStore) levels() (n []int64) {
	for i := range s.opened {
		n = append(n, s.opened[i].Load())
	}
	return n
}

// An idle replica costs one small request per poll, and occasionally a listing.
func TestFollowQuietRequests(t *testing.T) {
	t.Parallel()
	direct := storagetest.S3(t)
	writeOne(t, direct)
	var lists, others atomic.Int64
	behind := direct.Proxy(t, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if req.URL.Query().Has("list-type") {
			lists.Add(1)
		} else {
			others.Add(1)
		}
		next.ServeHTTP(w, req)
	})
	f := followtest.Follow(t, behind.Open(t), filepath.Join(t.TempDir(), "copy.db"), follow.Options{})
	f.At(1)
	// The restore's requests are among the first; two polls of all levels open a file.
	followtest.Eventually(t, "it polls", func() bool { return others.Load() >= 50 })
	before := lists.Load()
	followtest.Eventually(t, "it polls on", func() bool { return others.Load() >= 50+2*300+10 })
	if n := lists.Load() - before; n < 20 || n > 24 {
		t.Errorf("%d listings in 600 polls", n)
	}
	f.Stop()
}

// writeOne writes a replica with a single transaction.
func writeOne(t *testing.T, replica *storagetest.Replica) {
	t.Helper()
	name := "replicated-" + strings.ToLower(rand.Text())
	vfs.Register(name, vfs.Options{Storage: replica.Options})
	conn, err := sqlite3.Open("file:" + filepath.Join(t.TempDir(), "app.db") + "?vfs=" + name + "&replica=" + url.QueryEscape(replica.URL))
	if err == nil {
		err = errors.Join(conn.Exec(followtest.Schema), conn.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}
