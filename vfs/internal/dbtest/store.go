package dbtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// Memories holds the replicas of memory:// URLs, by the host of their URL, or by its host
// and path.
var Memories sync.Map

func init() {
	storage.Register("memory", func(_ context.Context, u *url.URL, _ storage.Options) (storage.Store, error) {
		store, ok := Memories.Load(u.Host)
		if !ok {
			store, ok = Memories.Load(u.Host + u.Path)
		}
		if !ok {
			return nil, fmt.Errorf("no memory store %s", u.Host+u.Path)
		}
		return store.(storage.Store), nil
	})
}

// NewReplica returns an empty replica whose String is its URL.
func NewReplica(t *testing.T) *storagetest.Memory {
	m := &storagetest.Memory{Name: strings.ToLower(rand.Text())}
	Memories.Store(m.Name, m)
	t.Cleanup(func() { Memories.Delete(m.Name) })
	return m
}

// Alias is a replica as another machine sees it. In one process, each database needs a
// URL of its own.
type Alias struct {
	storage.Store
	URL string
}

func (a Alias) String() string { return a.URL }

// NewAlias returns another name of a replica.
func NewAlias(t *testing.T, store storage.Store) Alias {
	name := strings.ToLower(rand.Text())
	a := Alias{store, "memory://" + name}
	Memories.Store(name, a)
	t.Cleanup(func() { Memories.Delete(name) })
	return a
}

// ReplicaURL is a replica's URL, as a parameter of [URI].
type ReplicaURL string

func (u ReplicaURL) String() string { return string(u) }

// URI returns the URI of a database with a replica and more parameters. Without an
// interval parameter, uploads follow each other without a pause.
func URI(path string, replica fmt.Stringer, params ...string) string {
	u := "file:" + path + "?vfs=replicated&replica=" + url.QueryEscape(replica.String())
	if !strings.Contains("&"+strings.Join(params, "&"), "&interval=") {
		u += "&interval=0s"
	}
	return strings.Join(append([]string{u}, params...), "&")
}

// Hold makes uploads to a replica wait, from now on. It commits a transaction and returns
// once its upload has begun. Release lets all uploads through.
func Hold(t *testing.T, m *storagetest.Memory, conn *sqlite3.Conn) (release func()) {
	t.Helper()
	held, started := make(chan struct{}), make(chan struct{})
	release = sync.OnceFunc(func() { close(held) })
	start := sync.OnceFunc(func() { close(started) })
	m.SetBefore(func(ctx context.Context, op, key string) error {
		if op == "create" {
			start()
			select {
			case <-held:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	t.Cleanup(release)
	Exec(t, conn, "CREATE TABLE held (x)")
	<-started
	return release
}

// ErrInjected is the error of injected faults.
var ErrInjected = errors.New("injected fault")

// Down makes a store fail from now on.
func Down(store *storagetest.Memory) {
	store.SetBefore(func(context.Context, string, string) error { return ErrInjected })
}

// CountRequests returns a [storagetest.Memory.Before] that counts requests.
func CountRequests(n *atomic.Int64) func(context.Context, string, string) error {
	return func(context.Context, string, string) error {
		n.Add(1)
		return nil
	}
}
