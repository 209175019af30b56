package reader_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/ncruces/go-sqlite3"

	_ "github.com/walvfs/walvfs/shipper/storage/file"
	"github.com/walvfs/walvfs/vfs"
	_ "github.com/walvfs/walvfs/vfs/reader"
)

// A program reads its own write from the replica, as another machine would that received
// the TXID.
func Example_ownWrites() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	replica := "replica=file://" + dir + "/replica"
	writer, err := sqlite3.Open("file:" + dir + "/app.db?vfs=replicated&" + replica)
	if err != nil {
		log.Fatal(err)
	}
	defer writer.Close()
	if err := writer.Exec("CREATE TABLE orders (item); INSERT INTO orders VALUES ('tea')"); err != nil {
		log.Fatal(err)
	}
	txid, err := vfs.TXID(context.Background(), writer)
	if err != nil {
		log.Fatal(err)
	}

	reader, err := sqlite3.Open("file:copy.db?vfs=replica&" + replica)
	if err != nil {
		log.Fatal(err)
	}
	defer reader.Close()
	if err := reader.Exec("PRAGMA walvfs_wait_txid='" + txid.String() + "'"); err != nil {
		log.Fatal(err)
	}
	stmt, _, err := reader.Prepare("SELECT item FROM orders")
	if err != nil {
		log.Fatal(err)
	}
	defer stmt.Close()
	for stmt.Step() {
		fmt.Println(stmt.ColumnText(0))
	}
	if err := stmt.Err(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// tea
}
