package verify_test

import (
	"bytes"
	"context"
	"fmt"
	"log"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/shipper/verify"
)

// Run reads every file of a replica. For each damaged file, the result states what cannot
// be restored.
func ExampleRun() {
	ctx := context.Background()
	store := &storagetest.Memory{Name: "app"} // or storage.Open(ctx, "s3://bucket/app", storage.Options{})
	key := store.Layout().Key(format.LevelRaw, 1, 1)
	if err := store.Create(ctx, key, bytes.NewReader([]byte("this is no LTX file")), storage.Attrs{}); err != nil {
		log.Fatal(err)
	}

	result, err := verify.Run(ctx, store, verify.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("ok:", result.OK)
	for _, p := range result.Problems {
		fmt.Println(p.Key)
	}
	// Output:
	// ok: false
	// 0000/0000000000000001-0000000000000001.ltx
}
