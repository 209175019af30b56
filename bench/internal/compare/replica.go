package compare

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
)

// measureStored sums the sizes of all files of a replica.
func (r *Run) measureStored(ctx context.Context, store storage.Store) error {
	files, err := restore.ListFiles(ctx, store)
	for _, f := range files {
		r.Stored += f.Size
	}
	return err
}

// measureLag finds out for each transaction when the first file that holds it could
// be read. It reads the files after the measured part, so nothing waits for it.
func (s *session) measureLag(ctx context.Context, store storage.Store) error {
	files, err := restore.ListFiles(ctx, store)
	if err != nil {
		return err
	}
	byName := map[string]format.FileInfo{}
	for _, f := range files {
		byName[f.String()] = f
	}
	var seen []stamp
	for _, a := range s.place.meter.Arrivals() {
		f, ok := byName[a.file]
		if !ok {
			continue // compacted away; a later file says more
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

// stamp says that from then on the store had transaction n and all before it.
type stamp struct {
	n  int64
	at time.Time

	size int64 // of the file that told
}

// commitSize is the median size of the files with transactions of the workload, not
// with the filled database.
func commitSize(seen []stamp) int64 {
	var sizes []float64
	for _, s := range seen {
		if s.n > 0 {
			sizes = append(sizes, float64(s.size))
		}
	}
	return int64(spread(sizes).Median)
}

// lags matches transactions, by when each had returned, with what the store had.
// One that was there before it returned has none.
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
// https://sqlite.org/fileformat.html#user_version_number. Each one changes page 1.
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

// compareDatabases compares all rows of two databases, and checks that the second one
// is sound.
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

// digest tells a database's rows from any others. It fails if the database is damaged.
func digest(path string) (text string, err error) {
	conn, err := sqlite3.Open("file:" + path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	stmt, _, err := conn.Prepare(`SELECT id, x FROM t ORDER BY id`)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, stmt.Close()) }()
	rows, sum := 0, sha256.New()
	for ; stmt.Step(); rows++ {
		x := stmt.ColumnRawBlob(1)
		var head [16]byte
		binary.BigEndian.PutUint64(head[:], uint64(stmt.ColumnInt64(0)))
		binary.BigEndian.PutUint64(head[8:], uint64(len(x)))
		sum.Write(head[:])
		sum.Write(x)
	}
	if err := stmt.Err(); err != nil {
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
	return fmt.Sprintf("%d rows, %x", rows, sum.Sum(nil)[:8]), check.Err()
}
