// River shows a job queue in a replicated database: each run takes an order, and in the
// same transaction inserts the job that sends it. So the replica never has the one without
// the other.
package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"net/url"
	"os"
	"time"

	_ "github.com/ncruces/go-sqlite3/driver"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"

	_ "github.com/walvfs/walvfs/shipper/storage/file" // s3:// needs shipper/storage/s3
	"github.com/walvfs/walvfs/vfs"
)

// Send is the job that sends an order.
type Send struct {
	Order int64 `json:"order"`
}

func (Send) Kind() string { return "send" }

type sender struct {
	river.WorkerDefaults[Send]
	db *sql.DB
}

// Work marks the order and completes the job in one transaction. A job whose effect is
// outside of the database, such as a mail, may run again after a restore: the replica may
// lack the last second of commits. It should wait with PRAGMA walvfs_wait before it acts.
func (s *sender) Work(ctx context.Context, job *river.Job[Send]) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, "UPDATE orders SET sent = sent + 1 WHERE id = ?", job.Args.Order); err != nil {
		return err
	}
	if _, err := river.JobCompleteTx[*riversqlite.Driver](ctx, tx, job); err != nil {
		return err
	}
	return tx.Commit()
}

func main() {
	replica := cmp.Or(os.Getenv("REPLICA"), "file:///var/tmp/walvfs/river")
	if err := run(context.Background(), url.QueryEscape(replica)); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, replica string) (err error) {
	db, err := sql.Open("sqlite3", "file:river.db?vfs=replicated&restore=if-missing&replica="+replica)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	// River asks for a single connection, which avoids SQLITE_BUSY. It stays open, as the
	// pool keeps idle connections, so replication stays open, too.
	db.SetMaxOpenConns(1)

	client, err := start(ctx, db)
	if err != nil {
		return err
	}
	completed, cancel := client.Subscribe(river.EventKindJobCompleted)
	defer cancel()
	if err := takeOrder(ctx, db, client); err != nil {
		return err
	}
	fmt.Println("completed", (<-completed).Job.Kind)

	// River first: it commits until it has stopped. With nothing to do, it commits every 5 s
	// to stay the leader, and walvfs uploads that. With interval=1m, that is one upload a
	// minute, and a minute of commits can be lost.
	ctx, cancelStop := context.WithTimeout(ctx, 20*time.Second)
	defer cancelStop()
	return errors.Join(client.Stop(ctx), report(ctx, db), vfs.Shutdown(ctx))
}

// start makes the tables of River and of the service, and starts the workers.
func start(ctx context.Context, db *sql.DB) (*river.Client[*sql.Tx], error) {
	driver := riversqlite.New(db)
	migrator, err := rivermigrate.New(driver, nil)
	if err != nil {
		return nil, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, sent INTEGER NOT NULL DEFAULT 0)"); err != nil {
		return nil, err
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, &sender{db: db})
	client, err := river.NewClient(driver, &river.Config{
		Queues:  map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 4}},
		Workers: workers,
	})
	if err != nil {
		return nil, err
	}
	return client, client.Start(ctx)
}

func takeOrder(ctx context.Context, db *sql.DB, client *river.Client[*sql.Tx]) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	result, err := tx.ExecContext(ctx, "INSERT INTO orders DEFAULT VALUES")
	if err != nil {
		return err
	}
	id, err := result.LastInsertId()
	if err != nil {
		return err
	}
	if _, err := client.InsertTx(ctx, tx, Send{Order: id}, nil); err != nil {
		return err
	}
	return tx.Commit()
}

func report(ctx context.Context, db *sql.DB) error {
	var orders, sent int
	if err := db.QueryRowContext(ctx, "SELECT count(*), sum(sent) FROM orders").Scan(&orders, &sent); err != nil {
		return err
	}
	fmt.Println(orders, "orders,", sent, "sent")
	return nil
}
