package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/url"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/vfs/reader"
)

type queryCmd struct {
	replicaArg
	SQL []string `arg:"" name:"sql" help:"Statements, separated by semicolons; - reads them from the standard input."`

	TXID      txidFlag `name:"txid" placeholder:"TXID" help:"Read this transaction, in hexadecimal, instead of the newest."`
	Timestamp timeFlag `placeholder:"TIME" help:"Read the newest state at or before this time: 2026-01-02T15:04:05Z, '2026-01-02 15:04' or 2026-01-02 (UTC without a zone), 5m or '2 days ago'."`

	Param []string `short:"p" sep:"none" placeholder:"NAME=VALUE" help:"The value of a parameter: NAME is the name of :name, @name or $name, or the number of ?, from 1. Repeatable."`

	CSV      bool `name:"csv" help:"Print comma-separated values, quoted as in RFC 4180."`
	JSON     bool `name:"json" help:"Print an array of objects for each statement."`
	NoHeader bool `help:"Do not print the names of the columns."`
	Quiet    bool `short:"q" help:"Print the rows and errors only."`
}

// Help is shown below the synopsis.
func (*queryCmd) Help() string {
	return `walvfs query opens the replica in place, as the VFS "replica" does: it fetches the pages that the statements read, and restores nothing. All statements see one state, which it names on the standard error. It writes nothing locally unless a statement does, such as VACUUM INTO. SQLite sorts in memory; with PRAGMA temp_store=file, it sorts in temporary files. query checks each page by itself. Only a restore and walvfs verify read whole files and check their checksums.

On a terminal, a result is a table. Elsewhere, it is lines with tabs between the values: a header, then the rows, with \t, \n, \r and \\ for these characters and \N for NULL, as in PostgreSQL's COPY. With --csv, NULL is an empty field, and an empty text is "". Except in JSON, a blob is written as X'00ff'. A blank line separates the results of two statements.

With --json, each statement that has columns prints an array of objects, which may be empty. An integer has all of its digits, up to 64 bits. A blob is {"base64": "AP8="}. If two columns have the same name, the second one gets the name with ":1" appended.

The value of a parameter is text, unless it is spelled as SQLite prints a number, such as 12 or -0.5. A blob is unhex(:name).

Examples:

	walvfs query s3://bucket/app 'SELECT count(*) FROM users'
	walvfs query --timestamp '10 minutes ago' s3://bucket/app 'SELECT * FROM users WHERE id = :id' -p id=42
	walvfs query --csv /var/lib/my-app/data.db - < report.sql > report.csv
	walvfs query --json s3://bucket/app 'SELECT name, data FROM files' | jq -r '.[0].data.base64 | @base64d'

Exit statuses: 0 done, 1 failed, 2 wrong command line or configuration, 3 no replica at the URL, 130 interrupted.`
}

// Validate finds mistakes before the command does anything.
func (c *queryCmd) Validate() error {
	if c.TXID != 0 && !c.Timestamp.IsZero() {
		return errors.New("--txid and --timestamp exclude each other")
	}
	if c.CSV && c.JSON {
		return errors.New("--csv and --json exclude each other")
	}
	if _, err := parseParams(c.Param); err != nil {
		return err
	}
	return c.check()
}

func (c *queryCmd) Run(a *app) error { return a.readInPlace(c.run) }

func (c *queryCmd) run(a *app) (err error) {
	sql, err := c.read(a)
	if err != nil {
		return err
	}
	store, _, err := c.open(a)
	if err != nil {
		return err
	}
	defer store.Close()
	conn, err := c.connect(a)
	if err != nil {
		return withNearest(a, store, err)
	}
	defer conn.Close()
	if err := c.tell(a, conn, store); err != nil {
		return err
	}
	params, err := parseParams(c.Param)
	if err != nil {
		return err
	}
	q := &querier{conn: conn, params: params, out: c.output(a)}
	for i, text := range sql {
		if err := q.run(text, i == len(sql)-1); err != nil {
			return err
		}
	}
	return nil
}

// outOfMemory turns a panic of go-sqlite3 into an error. The connection is unusable then.
func outOfMemory(err *error) {
	switch e := recover().(type) {
	case nil:
	case error:
		if e.Error() != "sqlite3: out of memory" {
			panic(e)
		}
		*err = &hintedError{e, "begin with PRAGMA temp_store=file, so that SQLite sorts in temporary files"}
	default:
		panic(e)
	}
}

// read returns the statements, with the standard input in the place of "-".
func (c *queryCmd) read(a *app) ([]string, error) {
	sql := make([]string, len(c.SQL))
	for i, text := range c.SQL {
		if text == "-" {
			b, err := io.ReadAll(a.stdin)
			if err != nil {
				return nil, fmt.Errorf("read the standard input: %w", err)
			}
			text = string(b)
		}
		sql[i] = text
	}
	return sql, nil
}

const queryVFS = "walvfs-query"

// connect opens the replica. Without a given state, the connection stays at the newest
// state: it never asks for a newer one.
func (c *queryCmd) connect(a *app) (*sqlite3.Conn, error) {
	replica, opts, _, err := c.resolve()
	if err != nil {
		return nil, err
	}
	logger := slog.New(slog.DiscardHandler)
	if !c.Quiet {
		logger = slog.New(warnings{slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})})
	}
	reader.Register(queryVFS, reader.Options{Replica: replica, Storage: opts, Interval: math.MaxInt64, Logger: logger})
	uri := url.Values{"vfs": {queryVFS}}
	switch {
	case c.TXID != 0:
		uri.Set("txid", format.TXID(c.TXID).String())
	case !c.Timestamp.IsZero():
		uri.Set("timestamp", c.Timestamp.UTC().Format(time.RFC3339Nano))
	}
	conn, err := sqlite3.Open("file:replica.db?" + uri.Encode())
	if err != nil {
		return nil, openError(err)
	}
	return conn, conn.Exec("PRAGMA temp_store=memory")
}

// openError returns the cause of an error of the VFS, without SQLite's text and without
// the database's name, which is only a label.
func openError(err error) error {
	if e, ok := errors.AsType[*sqlite3.Error](err); ok {
		if cause := errors.Unwrap(errors.Unwrap(e)); cause != nil {
			return cause
		}
	}
	return err
}

// tell prints which state the statements read.
func (c *queryCmd) tell(a *app, conn *sqlite3.Conn, store storage.Store) error {
	if c.Quiet {
		return nil
	}
	txid, err := pragma(conn, "walvfs_txid")
	if err != nil {
		return err
	}
	text, err := pragma(conn, "walvfs_time")
	if err != nil {
		return err
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stderr, "reading %s at TXID %s of %s (%s)\n", store, txid, text, humanize.Time(at))
	return err
}

func pragma(conn *sqlite3.Conn, name string) (value string, err error) {
	stmt, _, err := conn.Prepare("PRAGMA " + name)
	if err != nil {
		return "", err
	}
	defer stmt.Close()
	if stmt.Step() {
		value = stmt.ColumnText(0)
	}
	return value, stmt.Err()
}

func (c *queryCmd) output(a *app) rowWriter {
	switch {
	case c.JSON:
		return newJSONRows(a.stdout)
	case c.CSV:
		return newLineRows(a.stdout, csvValue, ",", !c.NoHeader)
	case isTerminal(a.stdout):
		return newTableRows(a.stdout, !c.NoHeader)
	}
	return newLineRows(a.stdout, tabValue, "\t", !c.NoHeader)
}

// parseParams parses the values of parameters, named without the character before the
// name, or numbered.
func parseParams(flags []string) (map[string]string, error) {
	params := map[string]string{}
	for _, flag := range flags {
		name, value, ok := strings.Cut(flag, "=")
		name = strings.TrimLeft(name, ":@$?")
		if !ok || name == "" {
			return nil, fmt.Errorf("--param %s: expected NAME=VALUE, or NUMBER=VALUE for the parameter ?", flag)
		}
		if _, twice := params[name]; twice {
			return nil, fmt.Errorf("--param %s: it is given twice", name)
		}
		params[name] = value
	}
	return params, nil
}

// readInPlace runs a function that reads a replica through SQLite. It does not wait for
// the function if the user interrupts it: a page may take long to arrive, and the process
// ends.
func (a *app) readInPlace(run func(a *app) error) error {
	done := make(chan error, 1)
	go func() {
		var err error
		defer func() { done <- err }()
		defer outOfMemory(&err)
		err = run(a)
	}()
	select {
	case err := <-done:
		return err
	case <-a.ctx.Done():
		return context.Cause(a.ctx)
	}
}
