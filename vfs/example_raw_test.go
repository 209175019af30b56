package vfs_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"

	"github.com/ncruces/go-sqlite3/driver"

	_ "github.com/walvfs/walvfs/shipper/storage/file"
	"github.com/walvfs/walvfs/vfs"
)

// waitFor returns when the replica has a connection's commits.
func waitFor(ctx context.Context, conn *sql.Conn) error {
	return conn.Raw(func(c any) error { return vfs.WaitConn(ctx, c.(driver.Conn).Raw()) })
}

// WaitConn waits for the commits of one connection, so with database/sql the program must
// pin the connection.
func ExampleWaitConn_databaseSQL() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := sql.Open("sqlite3", "file:"+dir+"/app.db?vfs=replicated&replica=file://"+dir+"/replica")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	ctx := context.Background()
	conn, err := db.Conn(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "CREATE TABLE payment (cents); INSERT INTO payment VALUES (499)"); err != nil {
		log.Fatal(err)
	}
	if err := waitFor(ctx, conn); err != nil {
		log.Fatal(err)
	}
	fmt.Println("the replica has the payment")
	// Output:
	// the replica has the payment
}
