package vfs_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	_ "github.com/ncruces/go-sqlite3/driver"

	_ "github.com/walvfs/walvfs/shipper/storage/file"
	"github.com/walvfs/walvfs/vfs"
)

// serve answers requests until the process receives a signal. Then it finishes them, and
// ships every commit, in the time that is left before a kill.
func serve(ctx context.Context, listener net.Listener, db *sql.DB) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := db.ExecContext(r.Context(), "INSERT INTO visit VALUES (datetime())"); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	return errors.Join(server.Shutdown(ctx), vfs.Shutdown(ctx), db.Close())
}

func ExampleShutdown() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := sql.Open("sqlite3", "file:"+dir+"/app.db?vfs=replicated&replica=file://"+dir+"/replica")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := db.Exec("CREATE TABLE visit (at)"); err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		log.Fatal(err)
	}

	ctx, terminate := context.WithCancel(context.Background()) // in place of a signal
	ended := make(chan error)
	go func() { ended <- serve(ctx, listener, db) }()
	resp, err := http.Get("http://" + listener.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	fmt.Println(resp.Status)
	terminate()
	fmt.Println("ended:", <-ended)
	// Output:
	// 200 OK
	// ended: <nil>
}
