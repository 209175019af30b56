package diff_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/ncruces/go-sqlite3"

	_ "github.com/walvfs/walvfs/shipper/storage/file"
	_ "github.com/walvfs/walvfs/vfs"
	_ "github.com/walvfs/walvfs/vfs/reader"
	"github.com/walvfs/walvfs/vfs/reader/diff"
)

// Example finds a DELETE in the replica, and undoes it without losing later changes.
func Example() {
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
		"INSERT INTO orders (item) VALUES ('tea'), ('milk')",
		"DELETE FROM orders WHERE item = 'tea'", // TXID 3
		"INSERT INTO orders (item) VALUES ('honey')",
	} {
		if err := writer.Exec(statement); err != nil {
			log.Fatal(err)
		}
	}
	writer.Close()

	from, err := sqlite3.Open("file:from.db?vfs=replica&txid=2&" + replica)
	if err != nil {
		log.Fatal(err)
	}
	defer from.Close()
	to, err := sqlite3.Open("file:to.db?vfs=replica&txid=3&" + replica)
	if err != nil {
		log.Fatal(err)
	}
	defer to.Close()
	ctx := context.Background()
	d, err := diff.New(ctx, from, to, diff.Options{})
	if err != nil {
		log.Fatal(err)
	}
	for _, t := range d.Tables {
		err := d.Rows(ctx, t, func(c diff.Change) error {
			fmt.Println(t.Name, c.Op, c.Old, c.New)
			return nil
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// orders delete [1 tea] []
}
