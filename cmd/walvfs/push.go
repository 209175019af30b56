package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/vfs"
	"github.com/walvfs/walvfs/vfs/config"
)

type pushCmd struct {
	DB      string `arg:"" name:"db" help:"The database. It must exist, and may be in use."`
	Replica string `arg:"" optional:"" help:"The replica's URL, such as s3://bucket/app or file:///backup/app. By default the one that the configuration file names for the database."`

	Config    string        `env:"WALVFS_CONFIG" placeholder:"FILE" help:"The configuration file. By default /etc/walvfs.yml, if there is no URL."`
	WAL       bool          `name:"wal" help:"Put the database into WAL mode if it is not, for good."`
	Overwrite bool          `help:"If the replica holds another history, go on with this database's content nevertheless."`
	Timeout   time.Duration `default:"1h" help:"How long it may take."`

	JSON  bool `name:"json" help:"Print the result as a JSON object."`
	Quiet bool `short:"q" help:"Print errors only."`
}

// Help is shown below the synopsis.
func (*pushCmd) Help() string {
	return `It replicates a database as it is now, once: for cron, and for databases of programs that do not open them through walvfs. A program that does needs no push: it replicates all the time, and push cannot open its database beside it.

The first run uploads everything, each other one what has changed since, and nothing if nothing has. What changed is known from the database's write-ahead log. If that has started over since the last run, which it does every thousand pages or so, or when the last program closes the database, everything is uploaded again: a database that is written to much is better replicated from within.

The database must be in WAL mode, in which SQLite's readers and writers do not block each other. One that is not is left alone, unless --wal allows to change that. Programs need not be told, but all of them must then run on this machine, and no other can have the database open at that moment. Beside the database, the file DB-walvfs remembers what the replica has. Nothing else is changed. It remembers one replica: a database that is pushed to two of them in turn is refused by the first one, as another history.

Examples:

	walvfs push --wal /var/lib/my-app/data.db s3://bucket/app

	# From cron, which sends mail if there is output.
	*/5 * * * *  walvfs push --quiet /var/lib/my-app/data.db s3://bucket/app

Exit statuses: 0 the replica has everything, 1 failed, 2 wrong command line or configuration, or not in WAL mode, 130 interrupted. After any but 0, the replica is whole, but it may lack what was committed last.`
}

// Validate finds mistakes before anything is done.
func (c *pushCmd) Validate() error {
	switch {
	case isURL(c.DB):
		return errors.New("expected the database's file first, then the replica's URL")
	case c.Timeout <= 0:
		return errors.New("--timeout: expected more than 0")
	case c.Replica != "":
		return storage.Check(c.Replica)
	}
	return nil
}

func (c *pushCmd) Run(a *app) error {
	db, err := c.resolve()
	if err != nil {
		return err
	}
	empty, err := c.checkMode()
	if err != nil {
		return err
	}
	// It is opened again by the VFS; here, what is wrong with the URL is said.
	store, err := storage.Open(a.ctx, db.URL, db.Options)
	if err != nil {
		return &usageError{err: err}
	}
	replica := store.String()
	store.Close()
	if empty {
		return c.done(a, replica, pushed{Skipped: "the database is empty"})
	}
	start := time.Now()
	status, err := c.push(a, db)
	if err != nil {
		return err
	}
	return c.done(a, replica, pushed{
		TXID:       status.Tip.TXID,
		Files:      status.Uploads,
		Bytes:      status.Bytes,
		DurationMS: time.Since(start).Milliseconds(),
	})
}

// resolve finds out where the replica is, and how it is to be kept.
func (c *pushCmd) resolve() (config.DB, error) {
	if c.Replica != "" && c.Config == "" {
		return config.DB{URL: c.Replica}, nil
	}
	conf, err := config.Find(c.Config)
	if err != nil {
		return config.DB{}, &usageError{err: err}
	}
	db, ok := conf.DB(c.DB)
	if c.Replica != "" {
		return config.DB{URL: c.Replica, Options: conf.Replica(c.Replica), Policy: db.Policy}, nil
	}
	if !ok {
		return db, unknownReplica(c.DB, conf)
	}
	if err := db.CheckWrite(); err != nil {
		return db, &usageError{err: err}
	}
	return db, nil
}

// checkMode looks at the database without SQLite, which would do something to it.
//
// https://sqlite.org/fileformat2.html#file_format_version_numbers
func (c *pushCmd) checkMode() (empty bool, err error) {
	f, err := os.Open(c.DB)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return false, fmt.Errorf("%s: it is a directory, and not a database", c.DB)
	}
	header := make([]byte, 20)
	switch n, err := io.ReadFull(f, header); {
	case n == 0 && err == io.EOF:
		// In WAL mode, the log has the first pages only after the file has one.
		return true, nil
	case err != nil && err != io.ErrUnexpectedEOF:
		return false, err
	case err != nil || string(header[:16]) != "SQLite format 3\x00":
		return false, fmt.Errorf("%s: not a SQLite database, or an encrypted one", c.DB)
	case header[18] != 2 && !c.WAL:
		return false, &usageError{
			err:  fmt.Errorf("%s: the database is not in WAL mode, which replication needs", c.DB),
			hint: "--wal puts it into WAL mode, for good; see: walvfs push --help",
		}
	}
	return false, nil
}

// push opens the database as an application would, and waits for the replica.
func (c *pushCmd) push(a *app, db config.DB) (shipper.Status, error) {
	path, err := filepath.Abs(c.DB)
	if err != nil {
		return shipper.Status{}, err
	}
	const name = "walvfs-push"
	vfs.Register(name, vfs.Options{
		Storage:      db.Options,
		Policy:       db.Policy,
		Interval:     -1,
		CloseTimeout: -1, // it has been waited for
		Overwrite:    c.Overwrite,
		Logger:       c.logger(a),
	})
	uri := fileURI(path) + "?vfs=" + name + "&replica=" + url.QueryEscape(db.URL)
	conn, err := sqlite3.OpenFlags(uri, sqlite3.OPEN_READWRITE|sqlite3.OPEN_URI)
	if err != nil {
		return shipper.Status{}, c.explain(innermost(err))
	}
	err = c.drain(a.ctx, path)
	status, _ := vfs.Status(path)
	if a.interrupted(err) {
		err = &interruptedError{err, left(status)}
	}
	return status, c.explain(errors.Join(err, conn.Close()))
}

// drain waits for the replica, but not for what only a person can make succeed: what
// an application tries again and again is an error here.
func (c *pushCmd) drain(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.Timeout, fmt.Errorf("--timeout=%s is over", c.Timeout))
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	done := make(chan error, 1)
	go func() { done <- vfs.Flush(ctx, path) }()
	for {
		select {
		case err := <-done:
			if cause := context.Cause(ctx); err != nil && hopeless(cause) {
				return cause
			}
			return err
		case <-time.After(100 * time.Millisecond):
			if status, _ := vfs.Status(path); hopeless(status.Err) {
				giveUp(status.Err)
			}
		}
	}
}

func hopeless(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, storage.ErrNoBucket) || errors.Is(err, sqlite3.READONLY)
}

// left says what an interrupted push leaves.
func left(s shipper.Status) string {
	if s.Uploads == 0 {
		return "no upload was acknowledged; the replica is whole"
	}
	return fmt.Sprintf("TXID %s was uploaded, but not all that was committed; the replica is whole", s.Tip.TXID)
}

func (c *pushCmd) logger(a *app) *slog.Logger {
	if c.Quiet || c.JSON {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(warnings{slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})})
}

// warnings leaves out errors: the command ends with them.
type warnings struct{ slog.Handler }

func (h warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level < slog.LevelError && h.Handler.Enabled(ctx, level)
}

func (h warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	return warnings{h.Handler.WithAttrs(attrs)}
}
func (h warnings) WithGroup(name string) slog.Handler { return warnings{h.Handler.WithGroup(name)} }

// innermost is the cause of an error, which SQLite has a number for only.
func innermost(err error) error {
	for cause := err; cause != nil; cause = errors.Unwrap(cause) {
		err = cause
	}
	return err
}

func (c *pushCmd) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, shipper.ErrDiverged), errors.Is(err, shipper.ErrFenced):
		return &hintedError{fmt.Errorf("%s: %w", c.DB, err), "if this database's content is right, --overwrite goes on with it"}
	case errors.Is(err, vfs.ErrNotReplicated), errors.Is(err, sqlite3.READONLY), errors.Is(err, fs.ErrPermission) && !isStorage(err):
		return &hintedError{fmt.Errorf("%s: cannot be replicated by this user: %w", c.DB, err), "walvfs must be able to write to the database and its directory, where SQLite has its log"}
	}
	return fmt.Errorf("%s: %w", c.DB, err)
}

func isStorage(err error) bool {
	_, ok := errors.AsType[*storage.Error](err)
	return ok
}

// pushed is what --json prints.
type pushed struct {
	DBPath     string      `json:"db_path"`
	Replica    string      `json:"replica"`
	Skipped    string      `json:"skipped,omitempty"` // why nothing was done
	TXID       format.TXID `json:"txid,omitzero"`
	Files      int64       `json:"files"`
	Bytes      int64       `json:"bytes"`
	DurationMS int64       `json:"duration_ms"`
}

func (c *pushCmd) done(a *app, replica string, p pushed) error {
	p.DBPath, p.Replica = c.DB, replica
	if c.JSON {
		return a.printJSON(p)
	}
	if c.Quiet {
		return nil
	}
	var err error
	switch {
	case p.Skipped != "":
		_, err = fmt.Fprintf(a.stdout, "%s: nothing to push: %s\n", c.DB, p.Skipped)
	case p.Files == 0:
		_, err = fmt.Fprintf(a.stdout, "%s: nothing has changed since TXID %s\n", c.DB, p.TXID)
	default:
		_, err = fmt.Fprintf(a.stdout, "%s: pushed TXID %s to %s: %s (%s) in %s\n", c.DB, p.TXID, replica,
			count(int(p.Files), "file"), humanize.IBytes(uint64(p.Bytes)), time.Duration(p.DurationMS)*time.Millisecond)
	}
	return err
}
