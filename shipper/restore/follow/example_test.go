package follow_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"

	_ "github.com/ncruces/go-sqlite3/driver"

	"github.com/walvfs/walvfs/shipper/restore/follow"
	"github.com/walvfs/walvfs/shipper/storage"
	_ "github.com/walvfs/walvfs/shipper/storage/file"
	_ "github.com/walvfs/walvfs/vfs"
)

// Run keeps a copy on another machine up to date until the context ends. Here it ends
// when the copy has the newest TXID.
func ExampleRun() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	replica := "file://" + dir + "/replica"
	db, err := sql.Open("sqlite3", "file:"+dir+"/app.db?vfs=replicated&durability=sync&replica="+replica)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE payment (cents); INSERT INTO payment VALUES (499)"); err != nil {
		log.Fatal(err)
	}

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	store, err := storage.Open(ctx, replica, storage.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	err = follow.Run(ctx, store, dir+"/copy.db", follow.Options{Report: func(s follow.Status) {
		if s.Err == nil && s.TXID == s.Tip {
			fmt.Println("the copy is at TXID", s.TXID)
			stop()
		}
	}})
	fmt.Println("stopped:", errors.Is(err, context.Canceled))
	// Output:
	// the copy is at TXID 0000000000000002
	// stopped: true
}
