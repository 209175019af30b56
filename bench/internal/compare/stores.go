package compare

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/walvfs/walvfs/shipper/storage"
	_ "github.com/walvfs/walvfs/shipper/storage/file"
	_ "github.com/walvfs/walvfs/shipper/storage/gcs"
	_ "github.com/walvfs/walvfs/shipper/storage/s3"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// addedLatency is the additional latency of the stores named "...+30ms".
const addedLatency = 30 * time.Millisecond

// storeKind is a place for replicas.
type storeKind struct {
	Name  string
	About string
	open  func(l *lender) *storagetest.Replica
	far   bool
}

// storeKinds lists all kinds, in the order of the report.
var storeKinds = []storeKind{
	{"file", "a directory", func(l *lender) *storagetest.Replica { return storagetest.File(l) }, false},
	{"versitygw", "Amazon S3's API, in front of a directory", func(l *lender) *storagetest.Replica { return storagetest.S3(l) }, false},
	{"fake-gcs-server", "Google Cloud Storage's API, in memory", func(l *lender) *storagetest.Replica { return storagetest.GCS(l) }, false},
	{"versitygw+30ms", "with 30 ms added to each request by toxiproxy", func(l *lender) *storagetest.Replica { return storagetest.S3(l) }, true},
	{"fake-gcs-server+30ms", "with 30 ms added to each request by toxiproxy", func(l *lender) *storagetest.Replica { return storagetest.GCS(l) }, true},
}

// place is one empty replica for one run of one peer.
type place struct {
	near  *storagetest.Replica // direct access to the store, for inspection
	used  *storagetest.Replica // the peer's access: counted, and delayed if the store is far
	meter *meter
}

// place lends a new replica.
//
//	peer ── toxiproxy, if far ── meter ── store
func (k storeKind) place(l *lender) *place {
	p := &place{near: k.open(l), meter: newMeter()}
	l.Cleanup(func() { p.empty(l) })
	p.used = p.near
	if p.near.Endpoint == "" {
		go p.watch(l.Context())
		return p
	}
	p.used = p.near.Proxy(l, p.meter.handle)
	if k.far {
		far := p.used.Toxiproxy(l)
		if err := far.Add(storagetest.Requests, 1, storagetest.Latency(addedLatency, 0)); err != nil {
			l.Fatal(err)
		}
		p.used = far.Replica
	}
	return p
}

// empty removes the replica of the first database: stores may be in memory, and their
// servers live as long as the benchmark.
func (p *place) empty(l *lender) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), time.Minute)
	defer cancel()
	store, err := p.store(ctx, 0)
	if err != nil {
		l.Error(err)
		return
	}
	defer store.Close()
	var keys []string
	for o, err := range store.List(ctx, "", "") {
		if err != nil {
			l.Error(err)
			return
		}
		keys = append(keys, o.Key)
	}
	for some := range slices.Chunk(keys, 1000) {
		if err := store.Delete(ctx, some...); err != nil {
			l.Error(err)
			return
		}
	}
}

// watch records the files that appear in a directory, in place of a proxy.
func (p *place) watch(ctx context.Context) {
	u, err := url.Parse(p.near.URL)
	if err != nil {
		return
	}
	dir := filepath.Join(filepath.FromSlash(u.Path), "ltx", "0")
	seen := map[string]bool{}
	for ctx.Err() == nil {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			name, isLTX := strings.CutSuffix(e.Name(), ".ltx")
			if isLTX && !seen[name] {
				seen[name] = true
				p.meter.arrived("0/" + name)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(watchEvery):
		}
	}
}

// watchEvery is the precision of arrivals in a directory.
const watchEvery = 2 * time.Millisecond

// store opens the replica of one of the databases, bypassing the proxies.
func (p *place) store(ctx context.Context, db int) (storage.Store, error) {
	return storage.Open(ctx, replicaURL(p.near, db), p.near.Options)
}
