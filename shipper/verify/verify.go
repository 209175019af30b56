package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
)

// verifier is one run.
type verifier struct {
	opts   Options
	from   *replica.Replica
	result Result

	bad     map[format.FileInfo]int    // the first problem of each file that has one
	damaged []format.FileInfo          // the bad files that a restore avoids
	sizes   map[format.FileInfo]uint32 // of pages, in bytes
	removed bool                       // retention removed a file meanwhile
}

func (v *verifier) run(ctx context.Context) error {
	files, err := v.from.Files(ctx)
	if err != nil {
		return err
	}
	if err := v.contents(ctx, files); err != nil {
		return err
	}
	if v.removed {
		if files, err = v.relist(ctx); err != nil {
			return err
		}
	}
	v.chain(files)
	return nil
}

// relist lists the remaining files.
func (v *verifier) relist(ctx context.Context) (replica.Files, error) {
	files, err := replica.Collect(v.from.List(ctx, 0))
	return slices.DeleteFunc(files, func(f replica.File) bool { return f.MaxTXID > v.result.TXID }), err
}

// contents reads all files and compares them.
func (v *verifier) contents(ctx context.Context, files replica.Files) error {
	files.Sort()
	at := Progress{TXID: files.Newest(), TotalFiles: len(files)}
	for _, f := range files {
		at.TotalBytes += f.Size
	}
	v.result.TXID = at.TXID
	state := &replay{problem: v.found, refused: v.refused, pages: pageStates{}}
	for f := range readAhead(ctx, v.from, files.Infos()) {
		switch gone, err := v.failed(ctx, f); {
		case err != nil:
			return err
		case gone:
			continue
		}
		at.Files++
		at.Bytes += f.Size
		v.opts.Progress(at)
		if f.err != nil {
			continue
		}
		v.sizes[f.FileInfo] = f.header.PageSize
		if f.MaxTXID == at.TXID && v.result.Time.IsZero() {
			v.result.Time = time.UnixMilli(f.header.Timestamp).UTC()
			v.result.PageSize, v.result.Pages = f.header.PageSize, f.header.Commit
		}
		state.file(f)
	}
	v.result.Files, v.result.Bytes = at.Files, at.Bytes
	return ctx.Err()
}

// failed determines why a file could not be read: it is damaged, which is a finding,
// gone, or out of reach, which proves nothing.
func (v *verifier) failed(ctx context.Context, f *fileHashes) (gone bool, err error) {
	if f.err == nil {
		return false, nil
	}
	if e, ok := errors.AsType[*replica.Damaged](f.err); ok {
		v.refused(f.FileInfo, "%s", strings.TrimPrefix(e.Err.Error(), "format: "))
		return false, nil
	}
	if _, ok := errors.AsType[*replica.Missing](f.err); !ok {
		return false, f.err
	}
	for g, err := range v.from.ListLevel(ctx, f.Level, f.MinTXID) {
		if err != nil {
			return false, err
		}
		if g.FileInfo == f.FileInfo {
			v.refused(f.FileInfo, "it is listed, but does not exist")
			return false, nil
		}
		if g.MinTXID > f.MinTXID {
			break
		}
	}
	v.removed = true
	return true, nil
}

// chain checks what the keys alone show, and finds the restorable TXIDs.
func (v *verifier) chain(files replica.Files) {
	for _, h := range holes(files.Infos()) {
		v.found(format.FileInfo{}, "%s", h)
	}
	// A restore notices a damaged file and avoids it. It does not notice that an intact file
	// is wrong.
	whole := files.Without(v.damaged...)
	if err := v.restorable(whole, v.result.TXID); err != nil {
		v.found(format.FileInfo{}, "TXID %s, the newest, cannot be restored: %v", v.result.TXID, v.why(files, err))
	}
	right := v.right(whole)
	if len(right) > 0 {
		v.result.Restorable = right[len(right)-1]
	}
	v.costs(files, whole, right)
}

// right returns the TXIDs that a restore restores correctly.
func (v *verifier) right(whole replica.Files) (txids []format.TXID) {
	sizes := map[uint32]bool{}
	for _, size := range v.sizes {
		sizes[size] = true
	}
	if len(v.bad) == len(v.damaged) && len(sizes) < 2 {
		return whole.Restorable() // a plan sees every problem
	}
	for _, txid := range whole.Restorable() {
		if v.restorable(whole, txid) == nil {
			txids = append(txids, txid)
		}
	}
	return txids
}

// why explains why the newest TXID cannot be restored: because of damaged files, or
// because of missing files.
func (v *verifier) why(files replica.Files, err error) error {
	p, planErr := files.Plan(v.result.TXID)
	if planErr != nil {
		return planErr
	}
	for _, f := range p.Apply {
		if slices.Contains(v.damaged, f) {
			return fmt.Errorf("that takes %s", v.from.Key(f))
		}
	}
	return err
}

// restorable finds a problem in the files that a restore uses.
func (v *verifier) restorable(files replica.Files, txid format.TXID) error {
	p, err := files.Plan(txid)
	if err != nil {
		return err
	}
	for i, f := range p.Apply {
		if _, bad := v.bad[f]; bad {
			return fmt.Errorf("that takes %s", v.from.Key(f))
		}
		if i == 0 || f.MinTXID == 1 {
			continue
		}
		// The page size of a file that arrived during the run is unknown.
		before, size := v.sizes[p.Apply[i-1]], v.sizes[f]
		if before != size && before != 0 && size != 0 {
			return fmt.Errorf("pages have %d bytes in %s and %d in %s", before, v.from.Key(p.Apply[i-1]), size, v.from.Key(f))
		}
	}
	return nil
}
