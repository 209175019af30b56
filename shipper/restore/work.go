package restore

import (
	"context"

	"github.com/walvfs/walvfs/format"
)

// worker decodes batches and writes their pages. Each core has one worker, and they need
// no order: each page is written once.
type worker struct {
	db      *database
	tracker *tracker
	decoder format.PageDecoder
	run     []byte // consecutive pages: a write for each would cost more than decoding it
	offset  int64  // of run
	unused  []byte // a page decoded only for its file's checksum
}

func newWorker(db *database, t *tracker) *worker {
	const maxPage = 64 << 10 // bytes; a batch exceeds its size by at most one page
	return &worker{db: db, tracker: t, run: make([]byte, 0, batchSize+maxPage), unused: make([]byte, maxPage)}
}

// work processes batches until the channel closes.
func (w *worker) work(ctx context.Context, batches <-chan *batch) error {
	for b := range batches {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		sum, err := w.apply(b)
		if err != nil {
			return b.file.fail(err)
		}
		if err := w.tracker.done(b, sum); err != nil {
			return b.file.fail(err)
		}
		b.piece.release()
	}
	return nil
}

func (w *worker) apply(b *batch) (format.PageSum, error) {
	sum := b.file.sum
	for _, p := range b.pages {
		page := w.unused[:b.file.pageSize]
		if p.write {
			var err error
			if page, err = w.next(p.Number, b.file.pageSize); err != nil {
				return sum, err
			}
		}
		if err := w.decoder.Decode(p.PageFrame, page, &sum); err != nil {
			return sum, err
		}
	}
	return sum, w.flush()
}

// next returns the buffer for decoding a page.
func (w *worker) next(number uint32, size int) ([]byte, error) {
	offset := int64(number-1) * int64(size)
	if offset != w.offset+int64(len(w.run)) {
		if err := w.flush(); err != nil {
			return nil, err
		}
		w.offset = offset
	}
	n := len(w.run)
	w.run = w.run[:n+size]
	return w.run[n:], nil
}

func (w *worker) flush() error {
	if len(w.run) == 0 {
		return nil
	}
	err := w.db.write(w.run, w.offset)
	w.run = w.run[:0]
	return err
}
