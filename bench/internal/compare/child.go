package compare

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	_ "github.com/ncruces/go-sqlite3/driver"

	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
)

// roleVariable in the environment makes this program an application instead of the
// benchmark: so each run has its own CPU time, memory and VFS.
const roleVariable = "WALVFS_BENCH_CHILD"

// spec is the task of an application, as a line of JSON on its input. The orders "go" and
// "close" follow. The end of the input means that the benchmark has stopped listening.
type spec struct {
	Workload workload
	Peer     peer
	Dir      string
	Replicas []string // a URL for each database
	Duration time.Duration
	Profiles profiles

	RestoreTo  string // instead of a workload: restore the first replica to this path
	FirstQuery bool   // or answer one query
	PutSize    int64  // or make bare PUTs of this size, at the workload's pace
	Fill       bool   // or make the first database as large as the workload wants, without a replica
}

// outcome is the result of an application, as a line of JSON on its output. The first
// outcome only reports that the application is ready.
type outcome struct {
	Transactions int64 // written
	Reads        int64
	Seconds      float64 // from the start of the first to the end of the last
	Latency      []byte  // of the transactions in nanoseconds, an encoded HDR histogram

	// Committed is when transaction n, counted from 1, had returned, in nanoseconds since
	// 1970, at index n-1. Only a workload with stamps has it.
	Committed []int64

	Sent []int64 // when bare PUT n began, in the same form

	SQLite string // SQLite's version, in the answer to the first query
}

// runChild is the main function of an application.
func runChild(in io.Reader, out io.Writer) error {
	slog.SetLogLoggerLevel(slog.LevelWarn)
	if os.Getenv(roleVariable) == readingRole {
		return readHere(in, out)
	}
	orders := json.NewDecoder(in)
	var s spec
	if err := orders.Decode(&s); err != nil {
		return err
	}
	if s.FirstQuery {
		return answerFirstQuery(out)
	}
	if s.RestoreTo != "" {
		return restoreHere(s)
	}
	if s.Fill {
		return fillHere(s)
	}
	if s.PutSize > 0 {
		return putHere(s, orders, json.NewEncoder(out))
	}
	app, err := openApplication(s)
	if err != nil {
		return err
	}
	defer app.close()
	if s.Workload.idle() {
		// Go collects garbage two minutes after the last collection, whatever the program
		// does. The VFS does not cause that, and it must not fall into the window by
		// chance.
		runtime.GC()
	}
	answers := json.NewEncoder(out)
	if err := errors.Join(answers.Encode(outcome{}), waitFor(orders, "go")); err != nil {
		return err
	}
	stop, err := s.Profiles.start()
	if err != nil {
		return err
	}
	result, err := app.work()
	if err := errors.Join(err, stop()); err != nil {
		return err
	}
	if err := errors.Join(answers.Encode(result), waitFor(orders, "close")); err != nil {
		return err
	}
	return app.close()
}

func waitFor(orders *json.Decoder, want string) error {
	var got string
	if err := orders.Decode(&got); err != nil || got != want {
		return fmt.Errorf("expected the order %q, got %q: %w", want, got, err)
	}
	return nil
}

// restoreHere restores like walvfs's command.
func restoreHere(s spec) error {
	store, err := storage.Open(context.Background(), s.Replicas[0], storage.Options{})
	if err != nil {
		return err
	}
	defer store.Close()
	_, err = restore.Restore(context.Background(), store, s.RestoreTo, restore.Options{})
	return err
}

// work is the measured part.
func (a *application) work() (outcome, error) {
	start := time.Now()
	end := start.Add(a.Duration)
	var wg sync.WaitGroup
	errs := make([]error, a.Workload.Connections)
	var uploaded error
	if a.Workload.Size > 0 {
		a.uploading.Store(true)
		wg.Go(func() {
			uploaded = a.drain(time.Hour)
			a.uploading.Store(false)
		})
	}
	for i := range errs {
		wg.Go(func() { errs[i] = a.connection(start, end) })
	}
	wg.Wait()
	took := time.Since(start)
	encoded, err := a.latency.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	return outcome{
		Transactions: a.latency.TotalCount(),
		Reads:        a.reads.Load(),
		Seconds:      took.Seconds(),
		Latency:      encoded,
		Committed:    a.committed,
	}, errors.Join(append(errs, uploaded, err)...)
}

// connection works on one connection until the end. With a pace, a transaction's latency
// counts from when it was due: a transaction that waits for a slow one is slow.
func (a *application) connection(start, end time.Time) error {
	if a.Workload.idle() {
		time.Sleep(time.Until(end))
		return nil
	}
	ctx := context.Background()
	c, err := a.prepare(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	for {
		due := time.Now()
		if !due.Before(end) && !a.uploading.Load() {
			return nil
		}
		n := a.number.Add(1)
		if a.Workload.Rate > 0 {
			due = start.Add(a.Workload.due(n - 1))
			if !due.Before(end) {
				time.Sleep(time.Until(end))
				return nil
			}
			time.Sleep(time.Until(due))
		}
		if err := c.transact(ctx, n); err != nil {
			return err
		}
		a.note(time.Since(due))
		for range a.Workload.Reads {
			var x []byte
			if err := c.read.QueryRowContext(ctx).Scan(&x); err != nil {
				return err
			}
			a.reads.Add(1)
		}
	}
}

// note records a transaction's latency and, because one connection takes numbers in
// order, the time when it was done.
func (a *application) note(latency time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_ = a.latency.RecordValue(max(1, latency.Nanoseconds())) // no transaction takes an hour
	if a.Workload.Stamp {
		a.committed = append(a.committed, time.Now().UnixNano())
	}
}

// statements are a connection's statements.
type statements struct {
	conn        *sql.Conn
	write, read *sql.Stmt
	stamp       bool
}

func (a *application) prepare(ctx context.Context) (*statements, error) {
	conn, err := a.dbs[0].Conn(ctx)
	if err != nil {
		return nil, err
	}
	c := &statements{conn: conn, stamp: a.Workload.Stamp}
	if c.write, err = conn.PrepareContext(ctx, a.Workload.Write); err == nil && a.Workload.Read != "" {
		c.read, err = conn.PrepareContext(ctx, a.Workload.Read)
	}
	return c, err
}

// transact writes one transaction. A stamp is its number in the database's header, so
// each level 0 file shows its last transaction.
func (c *statements) transact(ctx context.Context, n int64) error {
	if !c.stamp {
		_, err := c.write.ExecContext(ctx)
		return err
	}
	tx, err := c.conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.StmtContext(ctx, c.write).ExecContext(ctx); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", n)); err != nil {
		return err
	}
	return tx.Commit()
}

// isChild reports whether this process is an application.
func isChild() bool { return os.Getenv(roleVariable) != "" }

// close returns the connection, without anything that would keep it from closing.
func (c *statements) close() {
	c.write.Close()
	if c.read != nil {
		c.read.Close()
	}
	c.conn.Close()
}
