package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
)

// liveComparison compares a restored database with the live one. The live one may
// have commits that the replica got after the restore, or has not got yet: its
// pages may differ where the replica's next files have those pages.
type liveComparison struct {
	store    storage.Store
	restored string // the restored database
	result   restore.Result
	live     string
	copy     string // to be made of live
	wait     time.Duration
}

// compared is what --json prints of it.
type compared struct {
	Differ  int         `json:"pages_differ"`
	Ahead   format.TXID `json:"ahead_txid,omitzero"` // the TXID that explains them
	Problem string      `json:"problem,omitempty"`
}

func (c *compared) summary(live string) string {
	switch {
	case c == nil:
		return ""
	case c.Differ == 0:
		return "; equal to " + live + ", page for page"
	}
	return fmt.Sprintf("; %s is ahead by changes to %s, which the replica has since, up to TXID %s", live, count(c.Differ, "page"), c.Ahead)
}

func (l *liveComparison) run(ctx context.Context) (*compared, error) {
	if err := copyLive(ctx, l.live, l.copy); err != nil {
		return nil, fmt.Errorf("copy %s: %w", l.live, err)
	}
	differ, err := l.compare()
	if err != nil {
		return nil, err
	}
	c := &compared{Differ: len(differ)}
	if len(differ) == 0 {
		return c, nil
	}
	if c.Ahead, err = l.explain(ctx, differ); err != nil {
		return nil, err
	}
	if n := len(differ); n > 0 {
		first := uint32(1<<32 - 1)
		for number := range differ {
			first = min(first, number)
		}
		c.Problem = fmt.Sprintf("%s of %s, the first is page %d, differ from TXID %s, and no later TXID came within %s that changed them: the replica is behind, or wrong",
			count(n, "page"), l.live, first, l.result.TXID, l.wait)
	}
	return c, nil
}

// compare returns the numbers of the pages that differ. Sizes may differ too.
func (l *liveComparison) compare() (map[uint32]bool, error) {
	a, err := os.Open(l.restored)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	b, err := os.Open(l.copy)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	differ := map[uint32]bool{}
	size := l.result.PageSize
	ra, rb := bufio.NewReaderSize(a, 1<<20), bufio.NewReaderSize(b, 1<<20)
	pa, pb := make([]byte, size), make([]byte, size)
	for number := uint32(1); ; number++ {
		na, errA := io.ReadFull(ra, pa)
		nb, errB := io.ReadFull(rb, pb)
		if errA == io.EOF && errB == io.EOF {
			return differ, nil
		}
		if number == 1 {
			blankCounters(pa[:na])
			blankCounters(pb[:nb])
		}
		if number != format.LockPage(size) && !bytes.Equal(pa[:na], pb[:nb]) {
			differ[number] = true
		}
		for _, err := range []error{errA, errB} {
			if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
				return nil, err
			}
		}
	}
}

// blankCounters clears what SQLite's backup changes in the first page of a copy: the
// file format versions, the change counter, the schema cookie, and the version that
// made the change. See https://sqlite.org/fileformat2.html#the_database_header.
func blankCounters(page []byte) {
	for _, r := range [][2]int{{18, 20}, {24, 28}, {40, 44}, {92, 100}} {
		if len(page) >= r[1] {
			clear(page[r[0]:r[1]])
		}
	}
}

// explain removes the pages that later level 0 files have, waiting for them, and
// returns the last of those TXIDs. Pages beyond the database's end in one of them
// were cut off.
func (l *liveComparison) explain(ctx context.Context, differ map[uint32]bool) (format.TXID, error) {
	seen := l.result.TXID
	for deadline := time.Now().Add(l.wait); ; {
		for f, err := range l.later(ctx, seen) {
			if err != nil {
				return 0, err
			}
			h := readHashes(ctx, l.store, f)
			if h.err != nil {
				return 0, fmt.Errorf("read %s/%s: %w", l.store, keyOf(l.store, f), h.err)
			}
			for _, p := range h.pages {
				delete(differ, p.number)
			}
			for number := range differ {
				if number > h.header.Commit {
					delete(differ, number)
				}
			}
			seen = f.MaxTXID
		}
		if len(differ) == 0 || !time.Now().Before(deadline) {
			return seen, nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(min(time.Second, l.wait/10)):
		}
	}
}

// later yields the level 0 files after a TXID.
func (l *liveComparison) later(ctx context.Context, txid format.TXID) func(func(format.FileInfo, error) bool) {
	layout := l.store.Layout()
	return func(yield func(format.FileInfo, error) bool) {
		for o, err := range l.store.List(ctx, layout.Dir(format.LevelRaw), layout.Key(format.LevelRaw, txid, txid)) {
			if err != nil {
				yield(format.FileInfo{}, err)
				return
			}
			f, ok := layout.Parse(o.Key)
			f.Size = o.Size
			if ok && f.MinTXID > txid && !yield(f, nil) {
				return
			}
		}
	}
}

// copyLive copies a database as of one read transaction, without a trace: it must
// neither checkpoint, nor delete the log that another process uses.
func copyLive(ctx context.Context, live, to string) error {
	if _, err := os.Stat(live); err != nil {
		return err
	}
	// In WAL mode, who has a database open has a "-wal" file. Without one, SQLite
	// would leave one behind, unless it is told that nobody writes.
	idle, before, err := atRest(live)
	if err != nil {
		return err
	}
	uri := fileURI(live) + "?mode=ro"
	if idle {
		uri += "&immutable=1"
	}
	if err := backup(ctx, uri, to); err != nil {
		return err
	}
	if !idle {
		return nil
	}
	if still, after, err := atRest(live); err != nil || !still || after != before {
		return errors.Join(err, errors.New("it was opened meanwhile: try again"))
	}
	return nil
}

// fileState is what tells that nobody wrote to a file.
type fileState struct {
	size int64
	time time.Time
}

func atRest(path string) (idle bool, state fileState, err error) {
	_, err = os.Stat(path + "-wal")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, state, err
	}
	idle = err != nil
	fi, err := os.Stat(path)
	if err != nil {
		return false, state, err
	}
	return idle, fileState{fi.Size(), fi.ModTime()}, nil
}

func backup(ctx context.Context, from, to string) error {
	db, err := sqlite3.OpenContext(ctx, from)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetInterrupt(ctx)
	// The last connection that closes would checkpoint, and delete the log.
	if _, err := db.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, true); err != nil {
		return err
	}
	if err := db.BusyTimeout(10 * time.Second); err != nil {
		return err
	}
	if err := db.Exec(`BEGIN; SELECT 1 FROM sqlite_schema`); err != nil {
		return err
	}
	return db.Backup("main", fileURI(to))
}

// fileURI is a path as SQLite reads it with parameters behind.
func fileURI(path string) string {
	return "file:" + (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath()
}
