package vfs_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	_ "github.com/ncruces/go-sqlite3/driver"

	_ "github.com/walvfs/walvfs/shipper/storage/file"
	"github.com/walvfs/walvfs/vfs"
)

// A program that has a path, but no connection, looks up the handle.
func ExampleLookup() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "app.db")
	db, err := sql.Open("sqlite3", "file:"+path+"?vfs=replicated&replica=file://"+dir+"/replica")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE payment (cents)"); err != nil {
		log.Fatal(err)
	}

	replicated, err := vfs.Lookup(path)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := replicated.Flush(ctx); err != nil {
		log.Fatal(err)
	}
	status := replicated.Status()
	fmt.Println(status.State, status.Tip.TXID, status.Lag)
	// Output:
	// streaming 0000000000000001 0s
}

// report prints the state of each database of the program.
func report() {
	for _, db := range vfs.Databases() {
		status := db.Status()
		fmt.Printf("%s: %s, %s behind\n", filepath.Base(status.Path), status.State, status.Lag)
	}
}

func ExampleDatabases() {
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
	if _, err := db.Exec("CREATE TABLE payment (cents)"); err != nil {
		log.Fatal(err)
	}
	report()
	// Output:
	// app.db: streaming, 0s behind
}

// An error of database/sql has the text of SQLite's code, and Explain adds the cause. Here,
// the replica has no time to confirm a commit.
func ExampleDB_Explain() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "app.db")
	db, err := sql.Open("sqlite3", "file:"+path+"?vfs=replicated&sync_timeout=1ns&replica=file://"+dir+"/replica")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("CREATE TABLE payment (cents); PRAGMA walvfs_durability=sync"); err != nil {
		log.Fatal(err)
	}
	replicated, err := vfs.Lookup(path)
	if err != nil {
		log.Fatal(err)
	}

	_, err = db.Exec("INSERT INTO payment VALUES (499)")
	fmt.Println(err)
	fmt.Println(replicated.Explain(err))
	fmt.Println(errors.Is(err, vfs.ErrUnconfirmed))
	// Output:
	// sqlite3: disk I/O error
	// sqlite3: disk I/O error: walvfs: committed locally, but not confirmed by the replica: sync_timeout=1ns is over
	// true
}
