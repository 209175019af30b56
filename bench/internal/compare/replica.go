package compare

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
)

// measureStored sums the sizes of all files of a replica.
func (r *Run) measureStored(ctx context.Context, store storage.Store) error {
	files, err := replica.All(ctx, store)
	for _, f := range files.Infos() {
		r.Stored += f.Size
	}
	return err
}

// measureLag finds for each transaction when the first file with it could be read. It
// reads the files after the measured part, so nothing waits for it.
func (s *session) measureLag(ctx context.Context, store storage.Store) error {
	files, err := replica.All(ctx, store)
	if err != nil {
		return err
	}
	byName := map[string]format.FileInfo{}
	for _, f := range files.Infos() {
		byName[f.String()] = f
	}
	var seen []stamp
	for _, a := range s.place.meter.Arrivals() {
		f, ok := byName[a.file]
		if !ok {
			continue // compacted; a later file shows more
		}
		n, err := readStamp(ctx, store, f)
		if err != nil {
			return err
		}
		seen = append(seen, stamp{n, a.at, f.Size})
	}
	s.FileSize = commitSize(seen)
	h, missing := lags(s.outcome.Committed, seen)
	s.Missing = missing
	encoded, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	s.Lag = base64.StdEncoding.EncodeToString(encoded)
	return err
}

// stamp records that the store had transaction n and all before it from a time on.
type stamp struct {
	n  int64
	at time.Time

	size int64 // of the file with the stamp
}

// commitSize returns the median size of the files with transactions of the workload. The
// file with the filled database does not count.
func commitSize(seen []stamp) int64 {
	var sizes []float64
	for _, s := range seen {
		if s.n > 0 {
			sizes = append(sizes, float64(s.size))
		}
	}
	return int64(spread(sizes).Median)
}

// lags matches the times when transactions returned with the times when the store had
// them. A transaction that arrived before it returned has no lag.
func lags(committed []int64, seen []stamp) (h *hdrhistogram.Histogram, missing int) {
	h = newHistogram()
	slices.SortStableFunc(seen, func(a, b stamp) int { return a.at.Compare(b.at) })
	i := 0
	for n, at := range committed {
		for i < len(seen) && seen[i].n < int64(n)+1 {
			i++
		}
		if i == len(seen) {
			return h, len(committed) - n
		}
		lag := seen[i].at.Sub(time.Unix(0, at))
		_ = h.RecordValue(min(max(0, lag.Nanoseconds()), longest.Nanoseconds()))
	}
	return h, 0
}

// readStamp reads the number that a transaction wrote into the database's header:
// https://sqlite.org/fileformat.html#user_version_number. Each transaction changes page
// 1.
func readStamp(ctx context.Context, store storage.Store, f format.FileInfo) (n int64, err error) {
	r, _, err := store.Open(ctx, store.Layout().Key(f.Level, f.MinTXID, f.MaxTXID), 0, -1)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	_, _, err = format.Decode(r, func(_ format.LTXHeader, pgno uint32, page []byte) error {
		if pgno == 1 {
			n = int64(binary.BigEndian.Uint32(page[60:]))
		}
		return nil
	})
	return n, err
}

// compareDatabases compares all rows of two databases, and checks that the second is
// sound.
func compareDatabases(original, restored string) error {
	want, err := digest(original)
	if err != nil {
		return err
	}
	got, err := digest(restored)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("the restored database has %s, the original %s", got, want)
	}
	return nil
}

// digest identifies a database's rows. It fails if the database is damaged.
func digest(path string) (text string, err error) {
	conn, err := sqlite3.Open("file:" + path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	rows, sum, err := digestTables(conn)
	if err != nil {
		return "", err
	}
	check, _, err := conn.Prepare(`PRAGMA quick_check`)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, check.Close()) }()
	if check.Step() && check.ColumnText(0) != "ok" {
		return "", fmt.Errorf("%s is damaged: %s", path, check.ColumnText(0))
	}
	return fmt.Sprintf("%d rows, %x", rows, sum[:8]), check.Err()
}

// digestTables reads all tables that store rows.
func digestTables(conn *sqlite3.Conn) (rows int, sum []byte, err error) {
	h := sha256.New()
	tables, _, err := conn.Prepare(`SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0 ORDER BY name`)
	if err != nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, tables.Close()) }()
	for tables.Step() {
		name := tables.ColumnText(0)
		fmt.Fprintf(h, "%q\n", name)
		n, err := digestTable(conn, name, h)
		if err != nil {
			return 0, nil, fmt.Errorf("table %s: %w", name, err)
		}
		rows += n
	}
	return rows, h.Sum(nil), tables.Err()
}

// digestTable reads a table in its stored order.
func digestTable(conn *sqlite3.Conn, name string, h hash.Hash) (rows int, err error) {
	stmt, _, err := conn.Prepare("SELECT * FROM " + sqlite3.QuoteIdentifier(name) + " NOT INDEXED")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, stmt.Close()) }()
	for ; stmt.Step(); rows++ {
		for column := range stmt.ColumnCount() {
			kind, read := stmt.ColumnType(column), stmt.ColumnRawText
			if kind == sqlite3.BLOB {
				read = stmt.ColumnRawBlob
			}
			x, head := read(column), [9]byte{byte(kind)}
			binary.BigEndian.PutUint64(head[1:], uint64(len(x)))
			h.Write(head[:])
			h.Write(x)
		}
	}
	return rows, stmt.Err()
}
