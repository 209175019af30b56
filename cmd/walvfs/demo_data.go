package main

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"
	"golang.org/x/text/unicode/runenames"
)

// The load of the demonstration.
const (
	demoWriters = 4
	demoBatch   = 10 // characters per transaction
)

// write fills the database with the Unicode character table from several connections.
// Then it changes the database in all the ways that a replica must follow.
func (d *demo) write(db *sql.DB) error {
	if _, err := db.ExecContext(d.ctx, "CREATE TABLE character (code INTEGER PRIMARY KEY, char TEXT, name TEXT, note TEXT)"); err != nil {
		return err
	}
	for _, phase := range []struct{ name, sql string }{
		{"insert", "INSERT INTO character(code, char, name) VALUES (?1, ?2, ?3)"},
		{"update", "UPDATE character SET note = length(name) || ' letters' WHERE code = ?1 AND code % 3 = 0 AND ?2 <> ?3"},
	} {
		start := time.Now()
		rows, transactions, err := d.load(db, phase.sql)
		if err != nil {
			return fmt.Errorf("%s: %w", phase.name, err)
		}
		d.step(phase.name, "%s rows in %s transactions from %d connections in %s",
			humanize.Comma(rows), humanize.Comma(transactions), demoWriters, round(time.Since(start)))
	}
	if err := d.mistake(db); err != nil {
		return err
	}
	for _, q := range []string{"CREATE INDEX by_name ON character(name)", "VACUUM"} {
		if err := d.exec(db, q); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) exec(db *sql.DB, statement string) error {
	start := time.Now()
	if _, err := db.ExecContext(d.ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	d.step("run", "%s in %s", statement, round(time.Since(start)))
	return nil
}

// load executes a statement for every character, with several concurrent writers.
func (d *demo) load(db *sql.DB, statement string) (rows, transactions int64, err error) {
	ctx, cancel := context.WithCancelCause(d.ctx)
	defer cancel(nil)
	batches := make(chan []rune)
	var nRows, nTransactions atomic.Int64
	var wg sync.WaitGroup
	for range demoWriters {
		wg.Go(func() {
			for batch := range batches {
				n, err := transaction(ctx, db, statement, batch)
				if err != nil {
					cancel(err)
					return
				}
				nRows.Add(n)
				nTransactions.Add(1)
			}
		})
	}
	feed(ctx, batches)
	wg.Wait()
	return nRows.Load(), nTransactions.Load(), context.Cause(ctx)
}

// feed sends all characters that have their own name.
func feed(ctx context.Context, batches chan<- []rune) {
	defer close(batches)
	batch := make([]rune, 0, demoBatch)
	send := func() {
		select {
		case batches <- slices.Clone(batch):
			batch = batch[:0]
		case <-ctx.Done():
		}
	}
	for r := rune(0); r <= unicode.MaxRune && ctx.Err() == nil; r++ {
		if !named(r) {
			continue
		}
		if batch = append(batch, r); len(batch) == demoBatch {
			send()
		}
	}
	if len(batch) > 0 {
		send()
	}
}

// named reports whether a character has its own name, not that of a whole range.
func named(r rune) bool {
	name := runenames.Name(r)
	return name != "" && (name[0] != '<' || unicode.IsControl(r))
}

func transaction(ctx context.Context, db *sql.DB, statement string, batch []rune) (rows int64, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	for _, r := range batch {
		result, err := tx.ExecContext(ctx, statement, r, string(r), runenames.Name(r))
		if err != nil {
			return 0, err
		}
		n, err := result.RowsAffected()
		if err != nil {
			return 0, err
		}
		rows += n
	}
	return rows, tx.Commit()
}
