package replica_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

func Example() {
	ctx := context.Background()
	store := &storagetest.Memory{} // or storage.Open(ctx, "s3://bucket/app", storage.Options{})
	shipOnePage(ctx, store)

	r := replica.New(store, replica.Options{})
	files, err := r.Files(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("can be restored:", files.Restorable())
	plan, err := files.Plan(0)
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range plan.Apply {
		h, err := r.Header(ctx, f)
		if err != nil {
			log.Fatal(err)
		}
		index, err := r.Index(ctx, f)
		if err != nil {
			log.Fatal(err)
		}
		page := make([]byte, h.PageSize)
		if e, ok := index.Find(1); ok {
			if err := r.Page(ctx, f, e, page); err != nil {
				log.Fatal(err)
			}
		}
		fmt.Printf("%s: page 1 begins with %q\n", f, page[:5])
	}
	// Output:
	// can be restored: [0000000000000001]
	// 0/0000000000000001-0000000000000001: page 1 begins with "hello"
}

// shipOnePage stands in for a shipper.
func shipOnePage(ctx context.Context, store storage.Store) {
	var b bytes.Buffer
	enc, err := format.NewEncoder(&b, format.LTXHeader{PageSize: 512, Commit: 1, MinTXID: 1, MaxTXID: 1, Timestamp: 1})
	if err == nil {
		err = enc.Page(1, append([]byte("hello"), make([]byte, 507)...))
	}
	if err == nil {
		_, err = enc.Close()
	}
	if err == nil {
		err = store.Create(ctx, store.Layout().Key(0, 1, 1), bytes.NewReader(b.Bytes()), storage.Attrs{})
	}
	if err != nil {
		log.Fatal(err)
	}
}

func ExampleParseMoment() {
	now := time.Date(2026, 1, 10, 12, 0, 0, 0, time.UTC)
	for _, s := range []string{"2026-01-02 15:04", "2026-01-02T15:04:05.5+01:00", "2 days ago", "noon"} {
		at, err := replica.ParseMoment(s, now)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(at.Format(time.RFC3339Nano))
	}
	// Output:
	// 2026-01-02T15:04:00Z
	// 2026-01-02T14:04:05.5Z
	// 2026-01-08T12:00:00Z
	// expected a time such as 2026-01-02T15:04:05Z, '2026-01-02 15:04' or 2026-01-02 (UTC without a zone), 5m or '2 days ago'
}
