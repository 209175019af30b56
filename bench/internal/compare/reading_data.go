package compare

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

const readingPageSize = 4096

// readingData is a database and its replica: a snapshot, and a level 0 file for each of
// several later commits. A row of table item takes a quarter of a page, of random bytes;
// table word is a WITHOUT ROWID table filled in random order; the row of table moment is
// the TXID.
type readingData struct {
	path    string // of the database, as of its last commit
	bytes   int64
	rows    int64 // of item
	changed int   // rows that the last commit changed
	words   int64
	times   []time.Time // by TXID
	near    *storagetest.Replica

	answers map[string]string // by query, from the local file
}

// newReadingData makes the data. With further tables, their pages and the pages of the
// schema are scattered over the database.
func newReadingData(l *lender, o *readingOptions, size int64, tables int) (*readingData, error) {
	d := &readingData{
		path:  filepath.Join(l.directory(o.storeDir), "app.db"),
		rows:  size * 9 / 10 / (readingPageSize / 4),
		words: max(2000, size/20000),
		near:  storagetest.S3(l),
	}
	start := time.Now().Add(-time.Duration(o.files+10) * time.Second).Truncate(time.Second)
	for txid := range o.files + 2 {
		d.times = append(d.times, start.Add(time.Duration(txid)*time.Second))
	}
	store := d.near.Open(l)
	conn, err := sqlite3.Open("file:" + d.path)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := d.fill(conn, tables); err != nil {
		return nil, err
	}
	if err := d.uploadSnapshot(l.Context(), store); err != nil {
		return nil, err
	}
	if err := d.commits(l.Context(), conn, store, o.files); err != nil {
		return nil, err
	}
	return d, conn.Close()
}

func (d *readingData) fill(conn *sqlite3.Conn, tables int) error {
	statements := []string{
		fmt.Sprintf("PRAGMA page_size=%d; PRAGMA journal_mode=off; PRAGMA synchronous=off; PRAGMA cache_size=-100000", readingPageSize),
		"CREATE TABLE item (id INTEGER PRIMARY KEY, data BLOB)",
		"CREATE TABLE word (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID",
		"CREATE TABLE moment (txid INTEGER); INSERT INTO moment VALUES (1)",
		fmt.Sprintf("INSERT INTO word SELECT randomblob(16), randomblob(80) FROM generate_series(1, %d)", d.words),
	}
	const parts = 300
	for i := range int64(parts) {
		from, to := d.rows*i/parts+1, d.rows*(i+1)/parts
		statements = append(statements, fmt.Sprintf("INSERT INTO item SELECT value, randomblob(1000) FROM generate_series(%d, %d)", from, to))
		if i < int64(tables) {
			columns := make([]string, 40)
			for c := range columns {
				columns[c] = fmt.Sprintf("column_%d_of_table_%d TEXT", c, i)
			}
			statements = append(statements, fmt.Sprintf("CREATE TABLE further_%d (%s)", i, strings.Join(columns, ", ")))
		}
	}
	for _, s := range statements {
		if err := conn.Exec(s); err != nil {
			return fmt.Errorf("%.60s: %w", s, err)
		}
	}
	return nil
}

// uploadSnapshot encodes the database as TXID 1.
func (d *readingData) uploadSnapshot(ctx context.Context, store storage.Store) error {
	db, err := os.Open(d.path)
	if err != nil {
		return err
	}
	defer db.Close()
	info, err := db.Stat()
	if err != nil {
		return err
	}
	d.bytes = info.Size()
	out, err := os.Create(d.path + ".ltx")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	pages := uint32(d.bytes / readingPageSize)
	enc, err := format.NewEncoder(out, d.header(1, pages))
	if err != nil {
		return err
	}
	in, page := bufio.NewReaderSize(db, 1<<20), make([]byte, readingPageSize)
	for pgno := uint32(1); pgno <= pages; pgno++ {
		if _, err := io.ReadFull(in, page); err != nil {
			return err
		}
		if pgno == format.LockPage(readingPageSize) {
			continue
		}
		if err := enc.Page(pgno, page); err != nil {
			return err
		}
	}
	if _, err := enc.Close(); err != nil {
		return err
	}
	return d.upload(ctx, store, format.LevelSnapshot, 1, out)
}

func (d *readingData) header(txid format.TXID, pages uint32) format.LTXHeader {
	return format.LTXHeader{PageSize: readingPageSize, Commit: pages, MinTXID: txid, MaxTXID: txid, Timestamp: d.times[txid].UnixMilli()}
}

func (d *readingData) upload(ctx context.Context, store storage.Store, level int, txid format.TXID, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return store.Create(ctx, store.Layout().Key(level, txid, txid), io.NewSectionReader(f, 0, info.Size()), storage.Attrs{Time: d.times[txid]})
}

// commits makes commits, and uploads what each commit has written to the WAL.
func (d *readingData) commits(ctx context.Context, conn *sqlite3.Conn, store storage.Store, n int) error {
	if err := conn.Exec("PRAGMA journal_mode=wal; PRAGMA wal_autocheckpoint=0"); err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(1, 1))
	at := int64(format.WALHeaderSize)
	for txid := format.TXID(2); int(txid) <= n+1; txid++ {
		var sql strings.Builder
		fmt.Fprintf(&sql, "BEGIN; UPDATE moment SET txid = %d; ", txid)
		changed := map[int64]bool{}
		for range max(5, min(100, d.rows/4000)) {
			id := 1 + rng.Int64N(d.rows)
			fmt.Fprintf(&sql, "UPDATE item SET data = randomblob(1000) WHERE id = %d; ", id)
			changed[id] = true
		}
		fmt.Fprintf(&sql, "INSERT INTO item SELECT value, randomblob(1000) FROM generate_series(%d, %d); COMMIT", d.rows+1, d.rows+50)
		d.rows += 50
		d.changed = len(changed) + 50 + 1
		if err := conn.Exec(sql.String()); err != nil {
			return err
		}
		var err error
		if at, err = d.uploadCommit(ctx, store, txid, at); err != nil {
			return err
		}
	}
	return nil
}

// uploadCommit uploads the frames of the WAL from an offset on, and returns where they
// end.
func (d *readingData) uploadCommit(ctx context.Context, store storage.Store, txid format.TXID, at int64) (int64, error) {
	wal, err := os.Open(d.path + "-wal")
	if err != nil {
		return 0, err
	}
	defer wal.Close()
	newest := map[uint32]int64{} // where the page's newest content is
	highest, pages := uint32(0), uint32(0)
	header := make([]byte, format.FrameHeaderSize)
	for ; ; at += format.FrameHeaderSize + readingPageSize {
		if _, err := wal.ReadAt(header, at); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return 0, err
		}
		pgno := binary.BigEndian.Uint32(header)
		newest[pgno] = at + format.FrameHeaderSize
		highest, pages = max(highest, pgno), binary.BigEndian.Uint32(header[4:])
	}
	if pages == 0 {
		return 0, fmt.Errorf("TXID %s: the WAL does not end with a commit", txid)
	}
	out, err := os.Create(d.path + ".ltx")
	if err != nil {
		return 0, err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	enc, err := format.NewEncoder(out, d.header(txid, pages))
	if err != nil {
		return 0, err
	}
	page := make([]byte, readingPageSize)
	for pgno := uint32(1); pgno <= highest; pgno++ {
		place, ok := newest[pgno]
		if !ok {
			continue
		}
		if _, err := wal.ReadAt(page, place); err != nil {
			return 0, err
		}
		if err := enc.Page(pgno, page); err != nil {
			return 0, err
		}
	}
	if _, err := enc.Close(); err != nil {
		return 0, err
	}
	return at, d.upload(ctx, store, format.LevelRaw, txid, out)
}
