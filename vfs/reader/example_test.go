package reader_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"

	"github.com/ncruces/go-sqlite3"
	_ "github.com/ncruces/go-sqlite3/driver"

	_ "github.com/walvfs/walvfs/shipper/storage/file"
	"github.com/walvfs/walvfs/vfs"
	_ "github.com/walvfs/walvfs/vfs/reader"
)

// A program reads a replica through database/sql while another connection pool writes the
// database. The reader waits for the writer's commits.
func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	replica := "replica=file://" + dir + "/replica"

	writer, err := sql.Open("sqlite3", "file:"+dir+"/app.db?vfs=replicated&durability=sync&"+replica)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := writer.Exec("CREATE TABLE orders (item TEXT); INSERT INTO orders VALUES ('tea'), ('milk')"); err != nil {
		log.Fatal(err)
	}
	var txid string
	if err := writer.QueryRow("PRAGMA walvfs_txid").Scan(&txid); err != nil {
		log.Fatal(err)
	}

	reader, err := sql.Open("sqlite3", "file:copy.db?vfs=replica&"+replica)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := reader.Exec("PRAGMA walvfs_wait_txid='" + txid + "'"); err != nil {
		log.Fatal(err)
	}
	var n int
	if err := reader.QueryRow("SELECT count(*) FROM orders").Scan(&n); err != nil {
		log.Fatal(err)
	}
	fmt.Println(n, "orders")
	_, err = reader.Exec("DELETE FROM orders")
	fmt.Println(err)

	reader.Close()
	writer.Close()
	if err := vfs.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 2 orders
	// sqlite3: attempt to write a readonly database
}

// One query compares two moments of a replica.
func Example_moments() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	replica := "replica=file://" + dir + "/replica"

	writer, err := sqlite3.Open("file:" + dir + "/app.db?vfs=replicated&durability=sync&" + replica)
	if err != nil {
		log.Fatal(err)
	}
	for _, statement := range []string{
		"CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT)",
		"INSERT INTO orders (item) VALUES ('tea'), ('milk'), ('honey')",
		"DELETE FROM orders WHERE item <> 'milk'",
	} {
		if err := writer.Exec(statement); err != nil {
			log.Fatal(err)
		}
	}
	writer.Close()

	conn, err := sqlite3.Open("file:now.db?vfs=replica&" + replica)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	// TXID 2 is the state before the DELETE; timestamp= names it by its time.
	if err := conn.Exec("ATTACH 'file:before.db?vfs=replica&txid=2&" + replica + "' AS before"); err != nil {
		log.Fatal(err)
	}
	stmt, _, err := conn.Prepare("SELECT item FROM before.orders EXCEPT SELECT item FROM main.orders ORDER BY item")
	if err != nil {
		log.Fatal(err)
	}
	defer stmt.Close()
	for stmt.Step() {
		fmt.Println("deleted:", stmt.ColumnText(0))
	}
	if err := stmt.Err(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// deleted: honey
	// deleted: tea
}
