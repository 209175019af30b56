package restore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
	_ "github.com/walvfs/walvfs/shipper/storage/file"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

func ExampleRestore() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, err := storage.Open(ctx, "file://"+filepath.ToSlash(dir)+"/replica", storage.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	target := filepath.Join(dir, "app.db")
	_, err = restore.Restore(ctx, store, target, restore.Options{})
	fmt.Println("no replica:", errors.Is(err, restore.ErrNoReplica))

	shipOnePage(ctx, store)
	result, err := restore.Restore(ctx, store, target, restore.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("restored TXID", result.TXID, "with", result.Pages, "page")

	_, err = restore.Restore(ctx, store, target, restore.Options{})
	fmt.Println("exists:", errors.Is(err, restore.ErrExists))
	// Output:
	// no replica: true
	// restored TXID 0000000000000001 with 1 page
	// exists: true
}

func ExampleWrite() {
	ctx := context.Background()
	store := &storagetest.Memory{Name: "app"} // or storage.Open(ctx, "s3://bucket/app", storage.Options{})
	shipOnePage(ctx, store)

	preview, err := restore.Prepare(ctx, store, "", restore.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("to read:", len(preview.Plan.Apply), "file in", preview.Reads, "request")
	var database bytes.Buffer // or os.Stdout
	result, err := restore.Write(ctx, store, &database, "", restore.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("TXID", result.TXID, "has", database.Len(), "bytes")
	// Output:
	// to read: 1 file in 1 request
	// TXID 0000000000000001 has 4096 bytes
}

// Prepare shows what a restore will read, from one listing and one header.
func ExamplePrepare() {
	ctx := context.Background()
	store := &storagetest.Memory{Name: "app"}
	shipOnePage(ctx, store)

	preview, err := restore.Prepare(ctx, store, "", restore.Options{})
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range preview.Plan.Apply {
		fmt.Println(preview.Key(f))
	}
	fmt.Println("TXID", preview.Plan.TXID(), "of", time.UnixMilli(preview.Header.Timestamp).UTC())
	// Output:
	// 0000/0000000000000001-0000000000000001.ltx
	// TXID 0000000000000001 of 1970-01-01 00:00:00.001 +0000 UTC
}

// shipOnePage stands in for a shipper.
func shipOnePage(ctx context.Context, store storage.Store) {
	var b bytes.Buffer
	enc, err := format.NewEncoder(&b, format.LTXHeader{PageSize: 4096, Commit: 1, MinTXID: 1, MaxTXID: 1, Timestamp: 1})
	if err == nil {
		err = enc.Page(1, make([]byte, 4096))
	}
	if err == nil {
		_, err = enc.Close()
	}
	if err == nil {
		err = store.Create(ctx, store.Layout().Key(format.LevelRaw, 1, 1), bytes.NewReader(b.Bytes()), storage.Attrs{})
	}
	if err != nil {
		log.Fatal(err)
	}
}
