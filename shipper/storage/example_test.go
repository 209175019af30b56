package storage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/walvfs/walvfs/shipper/storage"
	_ "github.com/walvfs/walvfs/shipper/storage/file"
)

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()

	store, err := storage.Open(ctx, "file://"+filepath.ToSlash(dir), storage.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	key := store.Layout().Key(0, 1, 1)
	for _, writer := range []string{"one writer", "another"} {
		err := store.Create(ctx, key, bytes.NewReader([]byte(writer)), storage.Attrs{Time: time.Now()})
		switch {
		case errors.Is(err, storage.ErrExists):
			fmt.Println(writer, "is fenced")
		case err != nil:
			log.Fatal(err)
		default:
			fmt.Println(writer, "wrote", key)
		}
	}

	r, _, err := store.Open(ctx, key, 0, 3)
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	b, _ := io.ReadAll(r)
	fmt.Printf("it begins with %q\n", b)

	// Output:
	// one writer wrote ltx/0/0000000000000001-0000000000000001.ltx
	// another is fenced
	// it begins with "one"
}

func ExampleProbe() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	store, err := storage.Open(ctx, "file://"+filepath.ToSlash(dir), storage.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	condition, err := storage.Probe(ctx, store)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("put-if-absent is", condition)

	// Output: put-if-absent is supported
}
