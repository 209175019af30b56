package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
)

// A Preview describes what [Restore] would do. It does not know which files Restore will
// have to avoid because they are damaged: that shows only when they are read.
type Preview struct {
	Plan   replica.Plan
	Header format.LTXHeader // of the plan's last file: the database's TXID, time and size
	Newest format.TXID      // the replica's newest TXID

	Reads int // read requests, without retries
	Lists int // list requests, of up to 1000 objects each

	from *replica.Replica
	opts Options
}

// Prepare plans a restore and reads the header of its last file. It also checks target,
// unless it is empty, as Restore does before it downloads anything. It creates and
// changes nothing.
func Prepare(ctx context.Context, store storage.Store, target string, opts Options) (p Preview, err error) {
	p.opts = opts
	p.opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
	p.opts.Parallelism = cmp.Or(max(opts.Parallelism, 0), 64)
	if target != "" {
		if _, err := openPlace(target, p.opts); err != nil {
			return p, err
		}
	}
	p.from = p.opts.read(store)
	if p.Plan, err = p.from.Plan(ctx, opts.target()); err != nil {
		return p, err
	}
	if err := p.readHeader(ctx); err != nil {
		return p, err
	}
	apply := p.Plan.Apply
	p.Newest = p.Plan.Listed.Newest()
	p.Lists = 1 + len(p.Plan.Listed)/1000
	p.Reads = len(p.parts())
	if at, _ := p.Plan.Listed.At(p.Plan.TXID()); at.FileInfo != apply[len(apply)-1] {
		p.Reads++ // the checksum that a writer continues from
	}
	if opts.Rewind && p.Newest != p.Plan.TXID() {
		p.Reads++
	}
	if !opts.Timestamp.IsZero() {
		p.Reads += replica.HeadersFor(len(p.Plan.Listed.Restorable()))
	}
	return p, nil
}

// readHeader reads the header of the plan's last file. If it is damaged, readHeader makes
// another plan, as a restore does.
func (p *Preview) readHeader(ctx context.Context) (err error) {
	for {
		p.Header, err = p.from.Header(ctx, p.Plan.Apply[len(p.Plan.Apply)-1])
		bad, damaged := errors.AsType[*replica.Damaged](err)
		if !damaged {
			return err
		}
		next, planErr := p.Plan.Without(bad.File)
		if planErr != nil {
			return explain(bad, p.Plan.Listed.Without(bad.File))
		}
		p.Plan = next
	}
}

// A part is the range of one request.
type part struct {
	file         format.FileInfo
	offset, size int64
}

func (p Preview) parts() (parts []part) {
	for _, f := range p.Plan.Apply {
		for offset := int64(0); offset == 0 || offset < f.Size; offset += pieceSize {
			parts = append(parts, part{f, offset, min(pieceSize, f.Size-offset)})
		}
	}
	return parts
}

// mostSampled bounds the bytes that an estimate reads.
const mostSampled = 32 << 20

// An Estimate is how long the download of a restore takes.
type Estimate struct {
	Duration time.Duration
	Sampled  int64         // bytes read to measure it
	Took     time.Duration // time to read them
}

// Estimate reads a part of the plan's files, a tenth of the bytes up to 32 MiB, as a
// restore does: in pieces, in parallel. From the time that takes it estimates the
// restore, which is not faster than this machine can decompress and write. A damaged or
// missing file is an error.
func (p Preview) Estimate(ctx context.Context) (e Estimate, err error) {
	parts, bytes := p.parts(), p.Plan.Bytes()
	budget := min(max(bytes/10, 1), mostSampled)
	begun := time.Now()
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(p.opts.Parallelism)
	// Take parts from all over the plan, so that small and large files count in proportion.
	for i, step := 0, int(max(bytes/budget, 1)); i < len(parts) && e.Sampled < budget; i += step {
		at := parts[i]
		e.Sampled += at.size
		g.Go(func() error {
			r := p.from.Reader(gctx, at.file, at.offset, at.size)
			return errors.Join(replica.ReadFull(r, make([]byte, at.size)), r.Close())
		})
	}
	if err := g.Wait(); err != nil {
		return e, fmt.Errorf("measure the download: %w", err)
	}
	e.Took = max(time.Since(begun), 1)
	e.Duration = time.Duration(float64(e.Took) * float64(bytes) / float64(max(e.Sampled, 1)))
	return e, nil
}

// Key returns the key of a file's object.
func (p Preview) Key(f format.FileInfo) string { return p.from.Key(f) }
