// Sqlc shows code that sqlc has generated with a replicated database: each run takes two
// orders and prints their total. sqlc.yaml says how the code in orders was generated.
package main

import (
	"cmp"
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"log"
	"net/url"
	"os"

	_ "github.com/ncruces/go-sqlite3/driver"

	"github.com/walvfs/walvfs/bench/clients/sqlc/orders"
	_ "github.com/walvfs/walvfs/shipper/storage/file" // s3:// needs shipper/storage/s3
	"github.com/walvfs/walvfs/vfs"
)

//go:embed schema.sql
var schema string

func main() {
	replica := cmp.Or(os.Getenv("REPLICA"), "file:///var/tmp/walvfs/sqlc")
	if err := run(context.Background(), url.QueryEscape(replica)); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, replica string) (err error) {
	// With durability=sync, a transaction that returned is in the replica, so the end of the
	// program has nothing to wait for. Generated code does not change.
	db, err := sql.Open("sqlite3", "file:sqlc.db?vfs=replicated&restore=if-missing&durability=sync&replica="+replica)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return err
	}
	if err := takeOrders(ctx, db); err != nil {
		return err
	}
	total, err := orders.New(db).Total(ctx)
	if err != nil {
		return err
	}
	fmt.Println(total.Orders, "orders,", total.Cents, "cents")
	return nil
}

// takeOrders takes two orders, or none.
func takeOrders(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	queries := orders.New(db).WithTx(tx)
	for _, order := range []orders.CreateParams{{Item: "tea", Cents: 250}, {Item: "milk", Cents: 120}} {
		id, err := queries.Create(ctx, order)
		if err != nil {
			return err
		}
		fmt.Println("order", id, order.Item)
	}
	err = tx.Commit()
	if errors.Is(err, vfs.ErrUnconfirmed) {
		// The orders are taken, and the replica may lack them. Do not take them again.
		log.Print(err)
		return nil
	}
	return err
}
