package vfs_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/ncruces/go-sqlite3"

	_ "github.com/walvfs/walvfs/shipper/storage/file"
	"github.com/walvfs/walvfs/vfs"
)

// Commits return at once, and the program waits for the few important ones.
func ExampleWaitConn() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	conn, err := sqlite3.Open("file:" + dir + "/app.db?vfs=replicated&replica=file://" + dir + "/replica")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()

	if err := conn.Exec("CREATE TABLE visit (at); CREATE TABLE payment (cents)"); err != nil {
		log.Fatal(err)
	}
	if err := conn.Exec("INSERT INTO visit VALUES (datetime()); INSERT INTO payment VALUES (499)"); err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := vfs.WaitConn(ctx, conn); err != nil {
		log.Fatal(err) // the payment is committed nevertheless
	}
	fmt.Println("the replica has the payment")
	// Output:
	// the replica has the payment
}
