package gorm

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/ncruces/go-sqlite3/gormlite"
	"gorm.io/gorm"

	"github.com/walvfs/walvfs/vfs"
	_ "github.com/walvfs/walvfs/vfs/reader"
)

// GORM reads a replica with no more than the URI.
func Example_reader() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	replica := "replica=file://" + dir + "/replica"
	writer, err := gorm.Open(gormlite.Open("file:"+dir+"/app.db?vfs=replicated&durability=sync&"+replica), &gorm.Config{})
	if err != nil {
		log.Fatal(err)
	}
	if err := writer.AutoMigrate(&Order{}); err != nil {
		log.Fatal(err)
	}
	if err := writer.Create([]*Order{{Item: "tea"}, {Item: "milk"}}).Error; err != nil {
		log.Fatal(err)
	}

	reader, err := gorm.Open(gormlite.Open("file:copy.db?vfs=replica&"+replica), &gorm.Config{})
	if err != nil {
		log.Fatal(err)
	}
	var orders []Order
	if err := reader.Where("item LIKE ?", "t%").Find(&orders).Error; err != nil {
		log.Fatal(err)
	}
	fmt.Println(orders)

	for _, db := range []*gorm.DB{reader, writer} {
		if pool, err := db.DB(); err == nil {
			pool.Close()
		}
	}
	fmt.Println("closed:", vfs.Shutdown(context.Background()))
	// Output:
	// [{1 tea}]
	// closed: <nil>
}
