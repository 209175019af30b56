package main

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/vfs/reader"
	"github.com/walvfs/walvfs/vfs/reader/diff"
)

type diffCmd struct {
	replicaArg
	Tables []string `arg:"" optional:"" name:"table" help:"The tables to compare. By default all."`

	From     timeFlag `placeholder:"TIME" help:"Compare the newest state at or before this time: 2026-01-02T15:04:05Z, '2026-01-02 15:04' or 2026-01-02 (UTC without a zone), 5m or '2 days ago'."`
	FromTXID txidFlag `name:"from-txid" placeholder:"TXID" help:"Compare this transaction, in hexadecimal."`
	To       timeFlag `placeholder:"TIME" help:"With the newest state at or before this time, instead of the newest of all."`
	ToTXID   txidFlag `name:"to-txid" placeholder:"TXID" help:"With this transaction, in hexadecimal."`

	JSON  bool `name:"json" help:"Print one JSON object per line, with whole values."`
	SQL   bool `name:"sql" help:"Print the statements that turn the second state back into the first."`
	Quiet bool `short:"q" help:"Print the difference and errors only."`
}

// Help is shown below the synopsis.
func (*diffCmd) Help() string {
	return `walvfs diff compares two states in place and restores nothing. It reads the pages that changed and the pages that lead to them, so a few changed rows of a large table take a few requests. It reads whole tables, and says why on the standard error, if only snapshots lead from one state to the other, if a quarter of the database changed, as after VACUUM, and for changed tables WITHOUT ROWID. If a large value was overwritten in place by one of the same size, diff reads the tables that may hold the value, unless the database has auto_vacuum.

A line begins with + for an inserted row, - for a deleted row, and ~ for a changed row. Two rows are the same row if they have the same primary key, or the same rowid if the table has no primary key or a part of the key is NULL. If the columns of a table differ, diff compares the columns that both states have. It leaves out generated columns and SQLite's own tables, and compares the contents of a virtual table in its shadow tables. It shortens long values.

With --json, each line is an object. Its type is "states" in the first line; "schema" for a change of the schema; "insert", "update" or "delete" for a row, with its "key" and all columns, "old" and "new"; and "table" for the numbers at the end of a table. An integer has all of its digits, up to 64 bits; a blob is {"base64": "AP8="}; a text that is not UTF-8 is {"text_base64": "/w=="}.

With --sql, it prints one transaction that turns these tables of the second state back into the first, so you can undo a DELETE and keep everything else. The transaction runs without foreign keys, so that no cascade deletes more; PRAGMA foreign_key_check then lists rows that lack their parent. Triggers must be off, which SQL cannot do: the first lines of the output say how. If a table has triggers and they are on, the transaction rolls back. The transaction creates dropped tables again and drops new ones. It does not undo other changes of the schema, and fails for a table whose columns differ.

Examples:

	walvfs diff --from '10 minutes ago' s3://bucket/app
	walvfs diff --from '2026-01-02 12:00' --to '2026-01-02 12:05' s3://bucket/app users orders
	walvfs diff --json --from-txid 1f --to-txid 20 s3://bucket/app | jq 'select(.type == "delete")'

	# Undo what happened to two tables since then.
	walvfs diff --sql --from '2026-01-02 12:00' s3://bucket/app users orders > undo.sql
	sqlite3 -bail app.db < undo.sql

Exit statuses: 0 done, whether there are differences or not, 1 failed, 2 wrong command line or configuration, 3 no replica at the URL, 130 interrupted.`
}

// Validate finds mistakes before the command does anything.
func (c *diffCmd) Validate() error {
	switch {
	case c.From.IsZero() && c.FromTXID == 0:
		return errors.New("missing flags: --from=TIME or --from-txid=TXID")
	case !c.From.IsZero() && c.FromTXID != 0:
		return errors.New("--from and --from-txid exclude each other")
	case !c.To.IsZero() && c.ToTXID != 0:
		return errors.New("--to and --to-txid exclude each other")
	case c.JSON && c.SQL:
		return errors.New("--json and --sql exclude each other")
	}
	return c.check()
}

func (c *diffCmd) Run(a *app) error { return a.readInPlace(c.run) }

func (c *diffCmd) run(a *app) (err error) {
	store, _, err := c.open(a)
	if err != nil {
		return err
	}
	defer store.Close()
	from, to, err := c.connect(a)
	if e, ok := errors.AsType[*storage.Error](err); ok { // without SQLite's text
		return withNearest(a, store, e)
	}
	if err != nil {
		return err
	}
	defer from.Close()
	defer to.Close()
	states, err := c.states(store, from, to)
	if err != nil {
		return err
	}
	c.say(a, "comparing %s at %s with %s", store, states.From, states.To)
	d, err := diff.New(a.ctx, from, to, diff.Options{Tables: c.Tables, Note: func(note string) { c.say(a, "%s", shownText(note)) }})
	if err != nil {
		return err
	}
	tables, err := c.choose(d)
	if err != nil {
		return err
	}
	if len(c.Tables) == 0 && len(d.Virtual) > 0 {
		c.say(a, "comparing what virtual tables store in their shadow tables: %s", shownText(strings.Join(d.Virtual, ", ")))
	}
	if c.SQL {
		return c.undo(a, d, tables)
	}
	return c.print(a, d, tables, states)
}

func (c *diffCmd) say(a *app, format string, args ...any) {
	if !c.Quiet {
		fmt.Fprintf(a.stderr, format+"\n", args...)
	}
}

const diffVFS = "walvfs-diff"

// diffCache keeps the compared pages until their rows are read.
const diffCache = 256 << 20

// connect opens the replica at both moments.
func (c *diffCmd) connect(a *app) (from, to *sqlite3.Conn, err error) {
	replica, opts, _, err := c.resolve()
	if err != nil {
		return nil, nil, err
	}
	logger := slog.New(slog.DiscardHandler)
	if !c.Quiet {
		logger = slog.New(warnings{slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})})
	}
	reader.Register(diffVFS, reader.Options{Replica: replica, Storage: opts, Interval: math.MaxInt64, CacheMemory: diffCache, Logger: logger})
	if from, err = c.moment("from.db", c.From, c.FromTXID); err != nil {
		return nil, nil, err
	}
	if to, err = c.moment("to.db", c.To, c.ToTXID); err != nil {
		from.Close()
		return nil, nil, err
	}
	return from, to, nil
}

func (c *diffCmd) moment(name string, at timeFlag, txid txidFlag) (*sqlite3.Conn, error) {
	uri := url.Values{"vfs": {diffVFS}}
	switch {
	case txid != 0:
		uri.Set("txid", format.TXID(txid).String())
	case !at.IsZero():
		uri.Set("timestamp", at.UTC().Format(time.RFC3339Nano))
	}
	conn, err := sqlite3.Open("file:" + name + "?" + uri.Encode())
	if err != nil {
		return nil, err
	}
	return conn, conn.Exec("PRAGMA temp_store=memory")
}

// diffStates is the first line of output.
type diffStates struct {
	Type    string    `json:"type"`
	Replica string    `json:"replica"`
	From    diffState `json:"from"`
	To      diffState `json:"to"`
}

type diffState struct {
	TXID format.TXID `json:"txid"`
	Time time.Time   `json:"time"`
}

// String names a state for a message.
func (s diffState) String() string {
	return fmt.Sprintf("TXID %s of %s", s.TXID, s.Time.Format(time.RFC3339Nano))
}

func (c *diffCmd) states(store storage.Store, from, to *sqlite3.Conn) (*diffStates, error) {
	states := &diffStates{Type: "states", Replica: store.String()}
	for conn, at := range map[*sqlite3.Conn]*diffState{from: &states.From, to: &states.To} {
		s, err := reader.StateOf(conn)
		if err != nil {
			return nil, err
		}
		*at = diffState{s.TXID(), s.Time().UTC()}
	}
	if states.From.TXID > states.To.TXID {
		return nil, &usageError{err: fmt.Errorf("the first state, %s, is newer than the second, %s (exchange them)", states.From, states.To)}
	}
	return states, nil
}

// choose returns the tables that the command line names.
func (c *diffCmd) choose(d *diff.Diff) ([]*diff.Table, error) {
	if len(c.Tables) == 0 {
		return d.Tables, nil
	}
	var tables []*diff.Table
	for _, name := range c.Tables {
		i := slices.IndexFunc(d.Tables, func(t *diff.Table) bool { return diff.SameName(t.Name, name) })
		switch {
		case i >= 0 && !slices.Contains(tables, d.Tables[i]):
			tables = append(tables, d.Tables[i])
		case i >= 0:
		case slices.ContainsFunc(d.Virtual, func(v string) bool { return diff.SameName(v, name) }):
			return nil, fmt.Errorf("compare table %s: it is a virtual table (name the tables that it keeps its rows in, which begin with %[1]s_)", name)
		default:
			return nil, fmt.Errorf("compare table %s: neither state has it", name)
		}
	}
	return tables, nil
}

// undo prints the statements.
func (c *diffCmd) undo(a *app, d *diff.Diff, tables []*diff.Table) error {
	rows, err := d.Undo(a.ctx, a.stdout, tables)
	if err != nil {
		return err
	}
	for _, s := range c.schema(d, tables) {
		if s.Kind != "table" && !belongs(s, tables) || s.Old != "" && s.New != "" {
			c.say(a, "not undone: %s %s differs between the two states", s.Kind, shownText(s.Name))
		}
	}
	if rows == 0 {
		c.say(a, "no rows differ")
	}
	return nil
}

// belongs reports whether a change of the schema comes with a created or dropped table.
func belongs(s diff.SchemaChange, tables []*diff.Table) bool {
	return slices.ContainsFunc(tables, func(t *diff.Table) bool {
		return diff.SameName(t.Name, s.On) && (t.Created() || t.Dropped())
	})
}

// print prints the rows.
func (c *diffCmd) print(a *app, d *diff.Diff, tables []*diff.Table, states *diffStates) error {
	var out diffWriter = newDiffText(a.stdout)
	if c.JSON {
		out = newDiffJSON(a.stdout)
	}
	if err := out.begin(states); err != nil {
		return err
	}
	for _, s := range c.schema(d, tables) {
		if err := out.schema(s); err != nil {
			return err
		}
	}
	err := c.printRows(a, d, tables, out)
	if e := out.end(); err == nil {
		err = e
	}
	return err
}

// schema returns the changes of the schema, or only those of named tables.
func (c *diffCmd) schema(d *diff.Diff, tables []*diff.Table) (changes []diff.SchemaChange) {
	for _, s := range d.Schema {
		if len(c.Tables) == 0 || slices.ContainsFunc(tables, func(t *diff.Table) bool { return diff.SameName(t.Name, s.On) }) {
			changes = append(changes, s)
		}
	}
	return changes
}

func (c *diffCmd) printRows(a *app, d *diff.Diff, tables []*diff.Table, out diffWriter) error {
	none := true
	for _, t := range tables {
		n := diffCounts{Type: "table", Table: t.Name}
		err := d.Rows(a.ctx, t, func(change diff.Change) error {
			n.add(change.Op)
			return out.row(t, change)
		})
		if err == nil && n.any() {
			none = false
			err = out.counts(n)
		}
		if err != nil {
			return err
		}
	}
	if none {
		c.say(a, "no rows differ")
	}
	return nil
}

// A diffWriter prints a difference.
type diffWriter interface {
	begin(*diffStates) error
	schema(diff.SchemaChange) error
	row(*diff.Table, diff.Change) error
	counts(diffCounts) error
	end() error
}

// diffCounts are the changes of a table.
type diffCounts struct {
	Type     string `json:"type"`
	Table    string `json:"table"`
	Inserted int64  `json:"inserted"`
	Updated  int64  `json:"updated"`
	Deleted  int64  `json:"deleted"`
}

func (n *diffCounts) add(op diff.Op) {
	switch op {
	case diff.Inserted:
		n.Inserted++
	case diff.Changed:
		n.Updated++
	case diff.Deleted:
		n.Deleted++
	}
}

func (n *diffCounts) any() bool { return n.Inserted+n.Updated+n.Deleted > 0 }
