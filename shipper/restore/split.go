package restore

import (
	"context"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
)

// batchSize is how many bytes of pages are decoded and written at once. They stay in a
// core's cache in between.
const batchSize = 256 << 10

// batch is a run of pages of one file, still compressed.
type batch struct {
	file  *file
	slot  int    // its position in the file
	piece *piece // the piece that holds its pages
	pages []batchPage
	bytes int64 // of the file
}

type batchPage struct {
	format.PageFrame
	write bool // no newer file has the page
}

// splitter cuts the pieces into batches, in the only order that shows for each page
// whether it is the newest: by files from the newest to the oldest. It only reads
// headers, which costs a thousandth of the remaining work, which runs in parallel.
type splitter struct {
	ctx     context.Context
	tracker *tracker
	batches chan<- *batch
	newest  format.LTXHeader
	claimed *roaring.Bitmap // pages to be written

	file    *file
	batch   *batch
	carried []byte // from the piece before
}

// run processes the pieces in order.
func (s *splitter) run(pieces <-chan *piece) error {
	defer close(s.batches)
	for p := range pieces {
		select {
		case <-p.ready:
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
		if p.offset == 0 {
			s.file = s.tracker.begin(p.file, s.add)
		}
		if err := s.feed(p); err != nil {
			return s.file.fail(err)
		}
		p.release()
	}
	return s.ctx.Err()
}

func (s *splitter) feed(p *piece) error {
	b := p.data(s.carried)
	s.batch = &batch{file: s.file, piece: p}
	n, err := s.file.scanner.Feed(b)
	if err != nil {
		return err
	}
	if err := s.send(); err != nil {
		return err
	}
	s.carried = append(s.carried[:0], b[n:]...)
	if !p.last {
		return nil
	}
	s.carried = s.carried[:0]
	if err := s.file.scanner.Close(); err != nil {
		return err
	}
	if err := s.check(); err != nil { // a file without pages
		return err
	}
	return s.tracker.end(s.file)
}

// add adds a page.
func (s *splitter) add(f format.PageFrame) error {
	b := s.batch
	if len(b.pages) == 0 {
		if err := s.check(); err != nil {
			return err
		}
	}
	b.pages = append(b.pages, batchPage{f, s.claim(f.Number)})
	b.bytes += int64(f.Size())
	if len(b.pages)*s.file.pageSize < batchSize {
		return nil
	}
	return s.send()
}

// check reads the header of a file, once: workers use its results.
func (s *splitter) check() error {
	f := s.file
	if f.pageSize != 0 {
		return nil
	}
	h := f.scanner.Header()
	if s.newest == (format.LTXHeader{}) { // the plan's last file comes first
		s.newest = h
	}
	f.pageSize, f.sum = int(h.PageSize), f.scanner.Sum()
	return replica.Match(h, f.info)
}

// claim reports whether to write a page: whether the final database has it, and no newer
// file does. Each page of the database is claimed once: by the newest file that has it.
// That holds even if the database shrank in between and grew again, because the file with
// which it grew holds the pages that it grew by.
func (s *splitter) claim(number uint32) bool {
	return s.file.pageSize == int(s.newest.PageSize) && number <= s.newest.Commit && s.claimed.CheckedAdd(number)
}

// send sends the batch to the workers and begins the next.
func (s *splitter) send() error {
	b := s.batch
	if len(b.pages) == 0 {
		return nil
	}
	s.batch = &batch{file: b.file, piece: b.piece}
	b.piece.retain()
	b.slot = s.tracker.expect(b.file)
	select {
	case s.batches <- b:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}
