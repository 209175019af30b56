package vfs_test

import (
	"database/sql"
	"fmt"
	"log"
	"log/slog"
	"os"
	"time"

	_ "github.com/ncruces/go-sqlite3/driver"

	_ "github.com/walvfs/walvfs/shipper/storage/file"
	"github.com/walvfs/walvfs/vfs"
)

// A program's own VFS holds the options that all its databases share, so that their URIs
// need not contain them.
func ExampleRegister() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := dir + "/app.db"
	vfs.Register("app", vfs.Options{
		Replicas: map[string]string{path: "file://" + dir + "/replica"},
		Interval: 5 * time.Second,
		Restore:  vfs.RestoreIfMissing,
		Logger:   slog.New(slog.DiscardHandler),
	})

	db, err := sql.Open("sqlite3", "file:"+path+"?vfs=app")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	if err := db.Ping(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(vfs.Databases()), "database is replicated")
	// Output:
	// 1 database is replicated
}
