// Package readers is shared by the benchmark of reading and the programs that read a
// replica for it. Each program is a separate process. It receives orders on its standard
// input, one line of JSON each, and answers each order with a line on its standard
// output. It ends when its input ends.
//
// The package is a module without dependencies: the programs' modules contradict each
// other.
package readers

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// An Order is a task. Its fields are carried out in this order.
type Order struct {
	Open int       // have this number of connections open, each of which has read something
	At   time.Time // move the first connection to the state of this time, unless it is zero
	SQL  string    // then run this query on the first connection, unless it is empty

	Since, Until time.Time // if not zero: only count the rows that differ between these times

	Limit time.Duration // for the whole order
}

// An Answer is the result of an order.
type Answer struct {
	Seconds float64
	Row     string // the first row of the query, its columns separated by spaces
	Error   string // empty for none
	Over    bool   // the limit ended the order
}

// A Program reads a replica.
type Program struct {
	// Open opens a pool of connections to the replica.
	Open func() (*sql.DB, error)

	// Move is the statement that moves a connection to a time.
	Move func(at time.Time) string

	// Diff counts the rows that differ between two times. It is nil if that takes more
	// than a call.
	Diff func(ctx context.Context, since, until time.Time) (rows int, err error)
}

// Serve carries out orders until the input ends.
func (p Program) Serve(in io.Reader, out io.Writer) error {
	s := server{program: p}
	defer s.close()
	orders, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var o Order
		if err := orders.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		start := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), o.Limit)
		row, err := s.do(ctx, o)
		a := Answer{Seconds: time.Since(start).Seconds(), Row: row, Over: err != nil && ctx.Err() != nil}
		cancel()
		if err != nil {
			a.Error = err.Error()
		}
		if err := answers.Encode(a); err != nil {
			return err
		}
	}
}

type server struct {
	program Program
	db      *sql.DB
	conns   []*sql.Conn
}

func (s *server) do(ctx context.Context, o Order) (row string, err error) {
	if !o.Since.IsZero() {
		n, err := s.program.Diff(ctx, o.Since, o.Until)
		return fmt.Sprint(n), err
	}
	if s.db == nil {
		if s.db, err = s.program.Open(); err != nil {
			return "", err
		}
	}
	for len(s.conns) < o.Open {
		c, err := s.db.Conn(ctx)
		if err != nil {
			return "", err
		}
		s.conns = append(s.conns, c)
		if o.SQL == "" || len(s.conns) > 1 {
			if _, err := query(ctx, c, "SELECT count(*) FROM sqlite_schema"); err != nil {
				return "", err
			}
		}
	}
	if len(s.conns) == 0 {
		return "", errors.New("the replica could not be opened before")
	}
	if !o.At.IsZero() {
		if _, err := s.conns[0].ExecContext(ctx, s.program.Move(o.At)); err != nil {
			return "", err
		}
	}
	if o.SQL == "" {
		return "", nil
	}
	return query(ctx, s.conns[0], o.SQL)
}

func query(ctx context.Context, c *sql.Conn, q string) (string, error) {
	rows, err := c.QueryContext(ctx, q)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return "", err
	}
	values, places := make([]any, len(names)), make([]any, len(names))
	for i := range values {
		places[i] = &values[i]
	}
	if !rows.Next() {
		return "", cmp.Or(rows.Err(), errors.New("no row"))
	}
	if err := rows.Scan(places...); err != nil {
		return "", err
	}
	text := make([]string, len(values))
	for i, v := range values {
		if b, ok := v.([]byte); ok {
			v = string(b)
		}
		text[i] = fmt.Sprint(v)
	}
	return strings.Join(text, " "), rows.Close()
}

func (s *server) close() {
	for _, c := range s.conns {
		c.Close()
	}
	if s.db != nil {
		s.db.Close()
	}
}
