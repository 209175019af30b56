package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"slices"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
)

// liveComparison compares a restored database with the live one, which may be in use: it
// may have commits that the replica received after the restore, or has not received yet.
// So the comparison follows a differing page on both sides. The page is right once the
// live database was seen with the same content that a later file of any level in the
// replica has.
//
//	restored   A            the page, in the replica's files
//	later files     B     D
//	live          B   C   D the page, in one copy after another: right, by B
type liveComparison struct {
	store    storage.Store
	restored string // the restored database
	result   restore.Result
	live     string
	copy     string // path for copies of live
	wait     time.Duration
}

// compared is the result in the output of --json.
type compared struct {
	Differ     int         `json:"pages_differ"`        // in the first comparison
	Ahead      format.TXID `json:"ahead_txid,omitzero"` // the last TXID read from the replica
	Problem    string      `json:"problem,omitempty"`   // the two are not the same database
	Unchecked  string      `json:"unchecked,omitempty"` // pages that could not be compared, and why
	NotChecked int         `json:"pages_unchecked,omitempty"`
}

func (c *compared) summary(live string) string {
	switch {
	case c == nil:
		return ""
	case c.Differ == 0:
		return "; equal to " + live + ", page for page"
	}
	return fmt.Sprintf("; %s was ahead by changes to %s, which the replica has since, equal, up to TXID %s", live, count(c.Differ, "page"), c.Ahead)
}

// contentHash represents a page's content. Two different contents have the same hash in 1
// of 2^64 cases, by accident. It is 0 for a page that the database lacks.
type contentHash uint64

// livePage is a page that differs.
type livePage struct {
	seen []contentHash // in the live database, in order
	had  []contentHash // in the replica: first as restored, then in later files
}

// settled reports whether the live database was seen with a content that the replica has.
func (p *livePage) settled() bool {
	return slices.ContainsFunc(p.seen, func(h contentHash) bool { return slices.Contains(p.had, h) })
}

func (l *liveComparison) run(ctx context.Context) (*compared, error) {
	began := time.Now()
	if err := l.copyLive(ctx); err != nil {
		return nil, err
	}
	took := time.Since(began)
	open, err := l.compare()
	if err != nil {
		return nil, err
	}
	c := &compared{Differ: len(open), Ahead: l.result.TXID}
	r := replica.New(l.store, replica.Options{Patience: l.wait})
	for deadline := time.Now().Add(l.wait); len(open) > 0; {
		if c.Ahead, err = l.read(ctx, r, c.Ahead, open); err != nil {
			if errors.Is(err, errPageSize) {
				c.Unchecked, c.NotChecked = err.Error(), len(open)
				return c, nil
			}
			return nil, err
		}
		if len(open) == 0 || !time.Now().Before(deadline) {
			break
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(max(20*time.Millisecond, 4*took)):
		}
		if err := l.copyLive(ctx); err != nil {
			return nil, err
		}
		if err := l.look(open); err != nil {
			return nil, err
		}
	}
	l.judge(c, open)
	return c, nil
}

func (l *liveComparison) copyLive(ctx context.Context) error {
	if err := copyLive(ctx, l.live, l.copy); err != nil {
		return fmt.Errorf("copy %s: %w", l.live, err)
	}
	return nil
}

// judge reports the remaining pages. A page that the live database keeps changing while
// the replica keeps receiving it may be right: no copy was made at the moment of an
// upload.
func (l *liveComparison) judge(c *compared, open map[uint32]*livePage) {
	wrong, first := 0, uint32(0)
	for number, p := range open {
		if len(p.had) > 1 && len(p.seen) > 1 {
			c.NotChecked++
			continue
		}
		wrong++
		if first == 0 || number < first {
			first = number
		}
	}
	if wrong > 0 {
		c.Problem = fmt.Sprintf("TXID %s has other content for %s of %s (the first is page %d), and no later TXID within %s has the same: the replica is behind, or wrong",
			l.result.TXID, count(wrong, "page"), l.live, first, l.wait)
	}
	if c.NotChecked > 0 {
		c.Unchecked = fmt.Sprintf("%s of %s changed too often to be compared with what the replica received (a longer --wait may help)",
			count(c.NotChecked, "page"), l.live)
	}
}

// compare returns the pages that differ. Sizes may differ too.
func (l *liveComparison) compare() (map[uint32]*livePage, error) {
	open := map[uint32]*livePage{}
	restored, err := os.Open(l.restored)
	if err != nil {
		return nil, err
	}
	defer restored.Close()
	pages := bufio.NewReaderSize(restored, 1<<20)
	b := make([]byte, l.result.PageSize)
	number := uint32(0)
	next := func() ([]byte, error) {
		n, err := io.ReadFull(pages, b)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = nil
		}
		number++
		return b[:n], err
	}
	differ := func(a, b []byte) {
		if ha, hb := l.hash(number, a), l.hash(number, b); ha != hb {
			open[number] = &livePage{seen: []contentHash{hb}, had: []contentHash{ha}}
		}
	}
	if err := l.eachPage(func(_ uint32, page []byte) error {
		a, err := next()
		differ(a, page)
		return err
	}); err != nil {
		return nil, err
	}
	for {
		a, err := next()
		if err != nil || len(a) == 0 {
			return open, err
		}
		differ(a, nil)
	}
}

// look records the pages of a new copy, and drops settled pages.
func (l *liveComparison) look(open map[uint32]*livePage) error {
	pages := uint32(0)
	see := func(number uint32, content contentHash) {
		p := open[number]
		if p == nil {
			return
		}
		if !slices.Contains(p.seen, content) {
			p.seen = append(p.seen, content)
		}
		if p.settled() {
			delete(open, number)
		}
	}
	err := l.eachPage(func(number uint32, page []byte) error {
		pages = number
		if open[number] != nil {
			see(number, l.hash(number, page))
		}
		return nil
	})
	for number := range open {
		if number > pages {
			see(number, 0)
		}
	}
	return err
}

// eachPage calls fn for the copy's pages.
func (l *liveComparison) eachPage(fn func(number uint32, page []byte) error) error {
	f, err := os.Open(l.copy)
	if err != nil {
		return err
	}
	defer f.Close()
	r, page := bufio.NewReaderSize(f, 1<<20), make([]byte, l.result.PageSize)
	for number := uint32(1); ; number++ {
		n, err := io.ReadFull(r, page)
		if n > 0 {
			err = errors.Join(fn(number, page[:n]), ignoreEnd(err))
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func ignoreEnd(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil
	}
	return err
}

// hash returns the hash of a page's content, 0 for the lock page.
func (l *liveComparison) hash(number uint32, page []byte) contentHash {
	if len(page) == 0 || number == format.LockPage(l.result.PageSize) {
		return 0
	}
	if number == 1 {
		page = bytes.Clone(page)
		blankCounters(page)
	}
	return contentHash(maphash.Bytes(contentSeed, page) | 1)
}

var contentSeed = maphash.MakeSeed()

// errPageSize means that no further comparison is possible.
var errPageSize = errors.New("the page size has changed since the restore: run it again")

// read reads the files of all levels that end after a TXID, records their pages, and
// drops settled pages. It returns the last TXID that they lead to.
func (l *liveComparison) read(ctx context.Context, r *replica.Replica, from format.TXID, open map[uint32]*livePage) (format.TXID, error) {
	files, err := replica.Collect(r.List(ctx, from+1))
	if err != nil {
		return from, err
	}
	plan := format.PlanFrom(files.Infos(), from, 0)
	files.Sort()
	for _, f := range files.Infos() {
		// A file from TXID 1 is large, and other files usually hold the changes.
		if f.MaxTXID <= from || f.MinTXID == 1 && !slices.Contains(plan, f) {
			continue
		}
		err := l.readFile(ctx, r, f, open)
		_, gone := errors.AsType[*replica.Missing](err)
		_, bad := errors.AsType[*replica.Damaged](err)
		if err != nil && !gone && !bad { // a page that no other file has stays open
			return from, err
		}
	}
	if len(plan) > 0 {
		from = plan[len(plan)-1].MaxTXID
	}
	return from, nil
}

// readFile records the pages of a file after verifying the whole file.
func (l *liveComparison) readFile(ctx context.Context, r *replica.Replica, f format.FileInfo, open map[uint32]*livePage) error {
	pages := map[uint32]contentHash{}
	h, _, err := r.Decode(ctx, f, func(h format.LTXHeader, number uint32, page []byte) error {
		if h.PageSize != l.result.PageSize {
			return errPageSize
		}
		if open[number] != nil {
			pages[number] = l.hash(number, page)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for number, p := range open {
		content, ok := pages[number]
		if ok || number > h.Commit { // a page beyond the end is no longer in the database
			p.had = append(p.had, content)
		}
		if p.settled() {
			delete(open, number)
		}
	}
	return nil
}

// blankCounters clears the fields that SQLite's backup changes in the first page of a
// copy: the file format versions, the change counter, the schema cookie, and the version
// that made the change. See https://sqlite.org/fileformat2.html#the_database_header.
func blankCounters(page []byte) {
	for _, r := range [][2]int{{18, 20}, {24, 28}, {40, 44}, {92, 100}} {
		if len(page) >= r[1] {
			clear(page[r[0]:r[1]])
		}
	}
}
