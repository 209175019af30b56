package vfs_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"

	_ "github.com/ncruces/go-sqlite3/driver"

	_ "github.com/walvfs/walvfs/shipper/storage/file"
	"github.com/walvfs/walvfs/vfs"
)

// What sqlc generates: db.go and query.sql.go.

type DBTX interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
	PrepareContext(context.Context, string) (*sql.Stmt, error)
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
	QueryRowContext(context.Context, string, ...any) *sql.Row
}

type Queries struct{ db DBTX }

func New(db DBTX) *Queries { return &Queries{db: db} }

func (q *Queries) WithTx(tx *sql.Tx) *Queries { return &Queries{db: tx} }

const createOrder = `INSERT INTO orders (item) VALUES (?) RETURNING id`

func (q *Queries) CreateOrder(ctx context.Context, item string) (id int64, err error) {
	err = q.db.QueryRowContext(ctx, createOrder, item).Scan(&id)
	return id, err
}

// Code that sqlc has generated does not change: with durability=sync, a transaction
// that returned is in the replica.
func Example_sqlc() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := sql.Open("sqlite3", "file:"+dir+"/app.db?vfs=replicated&durability=sync&replica=file://"+dir+"/replica")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	ctx := context.Background()
	if _, err := db.ExecContext(ctx, "CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT)"); err != nil {
		log.Fatal(err)
	}

	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer tx.Rollback()
	queries := New(db).WithTx(tx)
	for _, item := range []string{"tea", "milk"} {
		id, err := queries.CreateOrder(ctx, item)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("order", id, item)
	}
	switch err := tx.Commit(); {
	case errors.Is(err, vfs.ErrUnconfirmed):
		fmt.Println("made, not to be tried again, and not yet known to be in the replica")
	case err != nil:
		log.Fatal(err)
	default:
		fmt.Println("made, and in the replica")
	}
	// Output:
	// order 1 tea
	// order 2 milk
	// made, and in the replica
}
