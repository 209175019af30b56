package main

import (
	"database/sql"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/vfs"
	"github.com/walvfs/walvfs/vfs/reader/diff"
)

// mistake deletes rows, and undoes the deletion.
func (d *demo) mistake(db *sql.DB) error {
	had, err := d.rows(db)
	if err != nil {
		return err
	}
	before, err := d.flush()
	if err != nil {
		return err
	}
	if err := d.exec(db, "DELETE FROM character WHERE name LIKE 'GREEK%' OR code % 7 = 0"); err != nil {
		return err
	}
	after, err := d.flush()
	if err != nil {
		return err
	}
	if err := d.undo(db, before, after); err != nil {
		return err
	}
	has, err := d.rows(db)
	if err == nil && !slices.Equal(has, had) {
		err = errors.New("the rows are not those that were deleted")
	}
	return err
}

// rows returns all rows of the table as text, in order.
func (d *demo) rows(db *sql.DB) (all []string, err error) {
	rows, err := db.QueryContext(d.ctx, "SELECT concat_ws('|', code, char, name, note) FROM character ORDER BY code")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var row string
		if err := rows.Scan(&row); err != nil {
			return nil, err
		}
		all = append(all, row)
	}
	return all, rows.Err()
}

// flush waits for the replica, and returns its newest TXID.
func (d *demo) flush() (format.TXID, error) {
	replicated, err := vfs.Lookup(d.path)
	if err != nil {
		return 0, err
	}
	if err := replicated.Flush(d.ctx); err != nil {
		return 0, err
	}
	return replicated.Status().Tip.TXID, nil
}

// undo compares two states of the replica, and applies the statements that lead from the
// later state back to the earlier state.
func (d *demo) undo(db *sql.DB, from, to format.TXID) error {
	start := time.Now()
	var conns []*sqlite3.Conn
	for _, txid := range []format.TXID{from, to} {
		conn, err := sqlite3.Open("file:" + txid.String() + ".db?" + url.Values{"vfs": {"replica"}, "replica": {d.replica}, "txid": {txid.String()}}.Encode())
		if err != nil {
			return err
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	difference, err := diff.New(d.ctx, conns[0], conns[1], diff.Options{})
	if err != nil {
		return err
	}
	var statements strings.Builder
	rows, err := difference.Undo(d.ctx, &statements, difference.Tables)
	if err != nil {
		return err
	}
	conn, err := db.Conn(d.ctx) // one connection, for one transaction
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(d.ctx, statements.String()); err != nil {
		return err
	}
	d.step("undo", "the difference between TXID %s and %s brings %s rows back in %s", from, to, humanize.Comma(rows), round(time.Since(start)))
	return nil
}
