package vfs_test

import (
	"database/sql"
	"log"
	"log/slog"
	"os"

	_ "github.com/ncruces/go-sqlite3/driver"

	"github.com/walvfs/walvfs/shipper"
	_ "github.com/walvfs/walvfs/shipper/storage/file"
	"github.com/walvfs/walvfs/vfs"
)

// logEvents logs the events of all databases.
func logEvents(log *slog.Logger) (stop func()) {
	return vfs.Listen(func(path string, e shipper.Event) {
		switch e := e.(type) {
		case shipper.StateChanged:
			log.Info("state", "is", e.To, "was", e.From)
		case shipper.Uploaded:
			log.Info("uploaded", "level", e.Level, "txid", e.MaxTXID, "pages", e.Pages)
		case shipper.Failed:
			log.Warn("failed", "kind", e.Kind, "error", e.Err)
		}
	})
}

func ExampleListen() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	defer logEvents(slog.New(slog.NewTextHandler(os.Stdout, withoutTime)))()

	db, err := sql.Open("sqlite3", "file:"+dir+"/app.db?vfs=replicated&durability=sync&replica=file://"+dir+"/replica")
	if err != nil {
		log.Fatal(err)
	}
	for _, q := range []string{"CREATE TABLE payment (cents)", "INSERT INTO payment VALUES (499)"} {
		if _, err := db.Exec(q); err != nil {
			log.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// level=INFO msg=uploaded level=0 txid=0000000000000001 pages=2
	// level=INFO msg=state is=streaming was=starting
	// level=INFO msg=uploaded level=0 txid=0000000000000002 pages=1
}

var withoutTime = &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}}
