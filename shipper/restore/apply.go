package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
)

// applyPlan writes every file of the plan to the database and says what it is then.
func applyPlan(ctx context.Context, store storage.Store, plan []format.FileInfo, db *database, opts Options) (Result, error) {
	p := Progress{
		TXID:       plan[len(plan)-1].MaxTXID,
		TotalFiles: len(plan),
		TotalBytes: sum(plan),
	}
	open := func(ctx context.Context, f format.FileInfo) io.ReadCloser {
		return newResumer(ctx, store, f, opts.Logger)
	}
	var last format.LTXHeader
	var before format.FileInfo
	for f, d := range prefetch(ctx, plan, opts.Parallelism, open) {
		r := &progressReader{download: d, progress: p, report: opts.Progress}
		h, err := applyFile(r, f, db)
		if err != nil {
			return Result{}, applyError(store, f, before, err)
		}
		p.Files++
		p.Bytes += f.Size
		r.tell(p)
		last, before = h, f
	}
	return Result{
		TXID:     last.MaxTXID,
		Time:     time.UnixMilli(last.Timestamp).UTC(),
		PageSize: db.pageSize,
		Pages:    db.pages,
		Files:    p.Files,
		Bytes:    p.Bytes,
	}, nil
}

// applyFile decodes one file into the database. Pages are written before the
// file's checksum is known, which is why the database has a temporary name.
func applyFile(r *progressReader, f format.FileInfo, db *database) (format.LTXHeader, error) {
	var begun bool
	begin := func(h format.LTXHeader) error {
		if begun {
			return nil
		}
		begun = true
		if err := matchHeader(h, f); err != nil {
			return err
		}
		return db.begin(h)
	}
	h, trailer, err := format.Decode(r, func(h format.LTXHeader, pgno uint32, page []byte) error {
		if err := begin(h); err != nil {
			return err
		}
		return db.writePage(pgno, page)
	})
	if r.download.broken != nil {
		return h, r.download.broken // what the decoder makes of it adds nothing
	}
	if err != nil {
		return h, err
	}
	if err := begin(h); err != nil { // a file without pages
		return h, err
	}
	if r.download.n != f.Size {
		return h, fmt.Errorf("%w: it has %d bytes, its listing says %d", format.ErrCorrupt, r.download.n, f.Size)
	}
	db.last, db.checksum = f, trailer.FileChecksum
	return h, db.end()
}

// applyError names the object, and where the replica is whole up to there.
func applyError(store storage.Store, f, before format.FileInfo, err error) error {
	err = objectError("apply", store, f, err)
	e, ok := err.(*Error)
	if ok && errors.Is(err, format.ErrCorrupt) && before.MaxTXID != 0 {
		e.Hint = fmt.Sprintf("TXID %s, the one before, can be restored", before.MaxTXID)
	}
	return err
}

// progressReader reports the bytes that a decoder takes.
type progressReader struct {
	download *download
	progress Progress // before this file
	report   func(Progress)
	told     int64
}

func (r *progressReader) Read(p []byte) (int, error) {
	n, err := r.download.Read(p)
	if r.download.n-r.told >= chunkSize {
		r.told = r.download.n
		now := r.progress
		now.Bytes += r.told
		r.tell(now)
	}
	return n, err
}

func (r *progressReader) tell(p Progress) {
	if r.report != nil {
		r.report(p)
	}
}
