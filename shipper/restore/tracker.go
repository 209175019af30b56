package restore

import (
	"sync"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
)

// file is a file of the plan.
type file struct {
	info format.FileInfo
	fail func(error) error // names the file in an error

	scanner  *format.Scanner // used by the splitter; nil once the file is verified
	pageSize int
	sum      format.PageSum // an empty sum

	// Set once the file is verified.
	header   format.LTXHeader
	whole    uint32 // the lowest page from which on it has all pages
	checksum format.Checksum

	// Guarded by the tracker's mutex.
	sums    []format.PageSum // of the batches
	pending int              // unfinished batches, plus one until all are known
	told    int64            // bytes reported as progress
}

// tracker tracks each file, verifies it when its last page is decoded, and reports the
// progress of the restore.
type tracker struct {
	report func(Progress)

	mu sync.Mutex
	// Guarded by mu, which also serialises calls of report.
	progress Progress
	reported int64 // bytes
	files    []*file
}

// reportEvery is the number of bytes after which progress is reported; it is also
// reported after each file.
const reportEvery = 256 << 10

func newTracker(p replica.Plan, report func(Progress), fail func(i int, err error) error) *tracker {
	if report == nil {
		report = func(Progress) {}
	}
	t := &tracker{report: report, progress: Progress{
		TXID:       p.TXID(),
		TotalFiles: len(p.Apply),
		TotalBytes: p.Bytes(),
	}}
	for i, info := range p.Apply {
		t.files = append(t.files, &file{info: info, fail: func(err error) error { return fail(i, err) }})
	}
	report(t.progress)
	return t
}

// begin returns a file before it is split.
func (t *tracker) begin(i int, page func(format.PageFrame) error) *file {
	f := t.files[i]
	f.scanner = format.NewScanner(page)
	f.pending = 1
	return f
}

// expect announces a batch and returns its position in the file.
func (t *tracker) expect(f *file) (slot int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.sums = append(f.sums, format.PageSum{})
	f.pending++
	return len(f.sums) - 1
}

// done adds the sum of a batch's pages.
func (t *tracker) done(b *batch, sum format.PageSum) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	b.file.sums[b.slot] = sum
	b.file.told += b.bytes
	t.progress.Bytes += b.bytes
	return t.settle(b.file)
}

// end says that the file has no further batches.
func (t *tracker) end(f *file) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.settle(f)
}

func (t *tracker) settle(f *file) error {
	f.pending--
	if f.pending == 0 {
		if err := f.verify(); err != nil {
			return err
		}
		t.progress.Files++
		t.progress.Bytes += f.info.Size - f.told
	}
	if f.pending == 0 || t.progress.Bytes-t.reported >= reportEvery {
		t.reported = t.progress.Bytes
		t.report(t.progress)
	}
	return nil
}

// verify compares the checksum, and drops the data that only this needed.
func (f *file) verify() error {
	s := f.scanner
	if err := s.Verify(f.sums); err != nil {
		return err
	}
	f.header, f.whole, f.checksum = s.Header(), s.Whole(), s.Trailer().FileChecksum
	f.scanner, f.sums = nil, nil
	return nil
}
