package vfs_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/ncruces/go-sqlite3"

	_ "github.com/walvfs/walvfs/shipper/storage/file"
	"github.com/walvfs/walvfs/vfs"
)

// A program with go-sqlite3's own interface gets the cause of a failed transaction from
// its connection.
func ExampleCause() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	conn, err := sqlite3.Open("file:" + dir + "/app.db?vfs=replicated&sync_timeout=1ns&replica=file://" + dir + "/replica")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Exec("CREATE TABLE payment (cents); PRAGMA walvfs_durability=sync"); err != nil {
		log.Fatal(err)
	}
	if err := conn.Exec("INSERT INTO payment VALUES (499)"); err != nil {
		fmt.Println(vfs.Cause(conn))
	}
	// Output:
	// walvfs: committed locally, but not confirmed by the replica: sync_timeout=1ns is over
}

// A TXID tells readers of the replica from which state on they see a write.
func ExampleTXID() {
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
	if err := conn.Exec("CREATE TABLE payment (cents)"); err != nil {
		log.Fatal(err)
	}
	txid, err := vfs.TXID(context.Background(), conn)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(txid)
	// Output:
	// 0000000000000001
}
