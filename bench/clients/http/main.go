// Http shows an HTTP service that ends cleanly on SIGTERM, as systemd, Docker and
// Kubernetes send it. POST /visits returns when SQLite has the visit. POST /orders returns 200
// when the replica has the order, and 202 if it may lack it.
package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	_ "github.com/ncruces/go-sqlite3/driver"

	_ "github.com/walvfs/walvfs/shipper/storage/file" // s3:// needs shipper/storage/s3
	"github.com/walvfs/walvfs/vfs"
)

// shutdownTimeout bounds the time between SIGTERM and the end. Keep it below the time after
// which the process is killed: 10 s with Docker, 30 s with Kubernetes, 90 s with systemd.
const shutdownTimeout = 8 * time.Second

func main() {
	replica := cmp.Or(os.Getenv("REPLICA"), "file:///var/tmp/walvfs/http")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, cmp.Or(os.Getenv("ADDR"), "localhost:8080"), url.QueryEscape(replica)); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, addr, replica string) (err error) {
	// lock_timeout lets a new process wait in a rolling deployment until the old one has
	// closed the database. With close_timeout=0s, the close does not wait for the replica once
	// more: serve has done so, within shutdownTimeout.
	uri := "file:http.db?vfs=replicated&restore=if-missing&lock_timeout=30s&close_timeout=0s&replica=" + replica
	fast, err := sql.Open("sqlite3", uri)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fast.Close()) }()
	// Durability belongs to the connection, so the orders have a pool of their own.
	safe, err := sql.Open("sqlite3", uri+"&durability=sync&sync_timeout=2s")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, safe.Close()) }()
	_, err = fast.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS visits (at TEXT); CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY)")
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return serve(ctx, listener, handler(fast, safe))
}

// serve ends in this order: no new connections, the end of requests under way, everything
// in the replica.
func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	fmt.Println("listening on", listener.Addr())
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if err := errors.Join(server.Shutdown(ctx), vfs.Shutdown(ctx)); err != nil {
		return err // names the database, and what its replica lacks and why
	}
	fmt.Println("the replica has everything")
	return nil
}

func handler(fast, safe *sql.DB) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /visits", func(w http.ResponseWriter, r *http.Request) {
		if _, err := fast.ExecContext(r.Context(), "INSERT INTO visits VALUES (datetime())"); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) {
		// The client chooses the ID, so that it can try again without ordering twice. A retry
		// writes again, and so waits again: a transaction that writes nothing waits for nothing.
		const query = "INSERT INTO orders VALUES (?) ON CONFLICT DO UPDATE SET id = excluded.id"
		_, err := safe.ExecContext(r.Context(), query, r.FormValue("id"))
		switch {
		case errors.Is(err, vfs.ErrUnconfirmed): // taken, and the replica may lack it
			http.Error(w, err.Error(), http.StatusAccepted)
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	return mux
}
