// Package gorm shows GORM with a replicated database.
package gorm

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/ncruces/go-sqlite3/gormlite"
	"gorm.io/gorm"

	_ "github.com/walvfs/walvfs/shipper/storage/file"
	"github.com/walvfs/walvfs/vfs"
)

type Order struct {
	ID   uint
	Item string
}

// GORM needs no more than the URI: with durability=sync, a transaction that returned
// is in the replica.
func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	dsn := "file:" + dir + "/app.db?vfs=replicated&durability=sync&replica=file://" + dir + "/replica"
	db, err := gorm.Open(gormlite.Open(dsn), &gorm.Config{})
	if err != nil {
		log.Fatal(err)
	}
	if err := db.AutoMigrate(&Order{}); err != nil {
		log.Fatal(err)
	}
	err = db.Transaction(func(tx *gorm.DB) error {
		return tx.Create([]*Order{{Item: "tea"}, {Item: "milk"}}).Error
	})
	if err != nil {
		log.Fatal(err) // vfs.ErrUnconfirmed: made, and not to be tried again
	}
	var orders []Order
	if err := db.Find(&orders).Error; err != nil {
		log.Fatal(err)
	}
	fmt.Println(orders)

	if err := vfs.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	pool, err := db.DB()
	if err == nil {
		err = pool.Close()
	}
	fmt.Println("closed:", err)
	// Output:
	// [{1 tea} {2 milk}]
	// closed: <nil>
}
