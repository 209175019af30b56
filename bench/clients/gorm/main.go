// Gorm shows GORM with a replicated database: each run takes two orders and prints how
// many there are. Delete the directory and run it again: the orders are restored.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"net/url"
	"os"
	"time"

	"github.com/ncruces/go-sqlite3/gormlite"
	"gorm.io/gorm"

	_ "github.com/walvfs/walvfs/shipper/storage/file" // s3:// needs shipper/storage/s3
	"github.com/walvfs/walvfs/vfs"
	_ "github.com/walvfs/walvfs/vfs/reader" // vfs=replica
)

type Order struct {
	ID   uint
	Item string
}

func main() {
	replica := url.QueryEscape(cmp.Or(os.Getenv("REPLICA"), "file:///var/tmp/walvfs/gorm"))
	err := takeOrders(replica)
	if err == nil {
		err = readReplica(replica)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func takeOrders(replica string) (err error) {
	// gormlite, unlike GORM's own SQLite driver, uses the SQLite that walvfs replicates. It
	// sets no PRAGMAs, and go-sqlite3 sets a busy timeout of one minute. If the URI has a
	// _pragma, that timeout is gone: then add _pragma=busy_timeout(60000) as the first one.
	db, err := gorm.Open(gormlite.Open("file:gorm.db?vfs=replicated&restore=if-missing&replica="+replica), &gorm.Config{})
	if err != nil {
		return err
	}
	pool, err := db.DB()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pool.Close()) }()

	// The pool of database/sql keeps up to two idle connections for as long as it is open.
	// Leave it so: when the last connection closes, replication closes, too.
	if err := db.AutoMigrate(&Order{}); err != nil {
		return err
	}
	err = db.Transaction(func(tx *gorm.DB) error {
		return tx.Create([]*Order{{Item: "tea"}, {Item: "milk"}}).Error
	})
	if err != nil {
		return err
	}
	var count int64
	if err := db.Model(&Order{}).Count(&count).Error; err != nil {
		return err
	}
	fmt.Println(count, "orders")

	// Close waits for the replica, too, but it cannot return what failed.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return vfs.Shutdown(ctx)
}

// readReplica reads the replica as any program can, without the database.
func readReplica(replica string) error {
	db, err := gorm.Open(gormlite.Open("file:copy.db?vfs=replica&replica="+replica), &gorm.Config{})
	if err != nil {
		return err
	}
	var tea []Order
	if err := db.Where("item LIKE ?", "t%").Find(&tea).Error; err != nil {
		return err
	}
	fmt.Println(len(tea), "of tea in the replica")
	pool, err := db.DB()
	if err != nil {
		return err
	}
	return pool.Close()
}
