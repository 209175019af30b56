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

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/vfs"
	"github.com/walvfs/walvfs/vfs/config"
)

// replicateArgs are the arguments of commands that open a database as an application
// would.
type replicateArgs struct {
	DB      string `arg:"" name:"db" help:"The database. It must exist, and may be in use."`
	Replica string `arg:"" optional:"" help:"The replica's URL, such as s3://bucket/app or file:///backup/app. By default the one that the configuration file names for the database."`

	Config  string        `env:"WALVFS_CONFIG" placeholder:"FILE" help:"The configuration file. By default /etc/walvfs.yml, if there is no URL."`
	Timeout time.Duration `default:"1h" help:"Give up after this time."`

	JSON  bool `name:"json" help:"Print the result as a JSON object."`
	Quiet bool `short:"q" help:"Print errors only."`
}

// Validate finds mistakes before the command does anything.
func (c *replicateArgs) Validate() error {
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

// resolve finds the replica's URL, options and policy.
func (c *replicateArgs) resolve() (config.DB, error) {
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

// checkMode reads the database without SQLite, which would change the database.
//
// https://sqlite.org/fileformat2.html#file_format_version_numbers
func (c *replicateArgs) checkMode(turnOn bool) (empty bool, err error) {
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
		// In WAL mode, the first pages are in the log only if the file has a page.
		return true, nil
	case err != nil && err != io.ErrUnexpectedEOF:
		return false, err
	case err != nil || string(header[:16]) != "SQLite format 3\x00":
		return false, fmt.Errorf("%s: not a SQLite database, or an encrypted one", c.DB)
	case header[18] != 2 && !turnOn:
		return false, &usageError{
			err:  fmt.Errorf("%s: the database is not in WAL mode, which replication needs", c.DB),
			hint: "--wal puts it into WAL mode, for good; see: walvfs push --help",
		}
	}
	return false, nil
}

// replicate opens the database as an application would, and waits for the replica.
func (c *replicateArgs) replicate(a *app, db config.DB, opts vfs.Options) (shipper.Status, error) {
	path, err := filepath.Abs(c.DB)
	if err != nil {
		return shipper.Status{}, err
	}
	const name = "walvfs-command"
	opts.Storage, opts.Policy, opts.Logger = db.Options, db.Policy, c.logger(a)
	opts.Interval, opts.CloseTimeout = vfs.Off, vfs.Off // drain has already waited
	vfs.Register(name, opts)
	uri := fileURI(path) + "?vfs=" + name + "&replica=" + url.QueryEscape(db.URL)
	conn, err := sqlite3.OpenFlags(uri, sqlite3.OPEN_READWRITE|sqlite3.OPEN_URI)
	if err != nil {
		return shipper.Status{}, c.explain(innermost(err))
	}
	progress := a.newTerminalProgress(c.Quiet || c.JSON, fmt.Sprintf("%s: uploading to %s", c.DB, db.URL))
	replicated, err := vfs.Lookup(path)
	if err != nil {
		return shipper.Status{}, errors.Join(err, conn.Close())
	}
	progress.begin()
	err = c.drain(a.ctx, replicated, progress)
	progress.end()
	status := replicated.Status()
	if a.interrupted(err) {
		err = &interruptedError{err, left(status)}
	}
	return status, c.explain(errors.Join(err, conn.Close()))
}

// drain waits for the replica. Errors that only an operator can fix end it, although an
// application would retry them.
func (c *replicateArgs) drain(ctx context.Context, db *vfs.DB, progress *progress) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.Timeout, fmt.Errorf("--timeout=%s is over", c.Timeout))
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	done := make(chan error, 1)
	go func() {
		err := db.Flush(ctx)
		if err == nil {
			err = db.Compact(ctx) // like a last close, but with another time limit
		}
		done <- err
	}()
	for {
		select {
		case err := <-done:
			if cause := context.Cause(ctx); err != nil && hopeless(cause) {
				return cause
			}
			return err
		case <-time.After(100 * time.Millisecond):
			status := db.Status()
			if hopeless(status.Err) {
				giveUp(status.Err)
			}
			if s := status.Sending; s.Total > 0 {
				progress.update(restore.Progress{Bytes: s.Bytes, TotalBytes: s.Total})
			}
		}
	}
}

func hopeless(err error) bool {
	return storage.Refused(err) || errors.Is(err, fs.ErrPermission) || errors.Is(err, sqlite3.READONLY)
}

// left describes the replica after an interrupted push.
func left(s shipper.Status) string {
	if s.Uploads == 0 {
		return "no upload was acknowledged; the replica is whole"
	}
	return fmt.Sprintf("TXID %s was uploaded, but not all that was committed; the replica is whole", s.Tip.TXID)
}

func (c *replicateArgs) logger(a *app) *slog.Logger {
	if c.Quiet || c.JSON {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(warnings{slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})})
}

// warnings drops errors: the command ends with them.
type warnings struct{ slog.Handler }

func (h warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level < slog.LevelError && h.Handler.Enabled(ctx, level)
}

func (h warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	return warnings{h.Handler.WithAttrs(attrs)}
}
func (h warnings) WithGroup(name string) slog.Handler { return warnings{h.Handler.WithGroup(name)} }

// innermost returns the cause of an error that SQLite reports only as a code.
func innermost(err error) error {
	for cause := err; cause != nil; cause = errors.Unwrap(cause) {
		err = cause
	}
	return err
}

func (c *replicateArgs) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, vfs.ErrNotReplicated), errors.Is(err, sqlite3.READONLY), errors.Is(err, fs.ErrPermission) && !isStorage(err):
		return &hintedError{fmt.Errorf("%s: cannot be replicated by this user: %w", c.DB, err), "walvfs must be able to write to the database and its directory, where SQLite has its log"}
	}
	return fmt.Errorf("%s: %w", c.DB, err)
}

func isStorage(err error) bool {
	_, ok := errors.AsType[*storage.Error](err)
	return ok
}
