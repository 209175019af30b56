package reader

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"weak"

	"golang.org/x/sync/errgroup"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
)

// A file is an LTX file of the replica, and where its pages are.
type file struct {
	info     format.FileInfo
	written  int64 // of its listing
	header   format.LTXHeader
	checksum format.Checksum // of the whole file: distinguishes it from every other file

	// index finds the pages, and does not change. It is nil for a whole database with a
	// large index: then windows find the pages until loaded is set.
	index   *replica.Index
	windows *windows
	loaded  atomic.Pointer[replica.Index]
	loading atomic.Bool // or has been tried
}

// find returns the place of a page, if the file has the page.
func (f *file) find(ctx context.Context, pgno uint32) (format.PageEntry, bool, error) {
	if e, ok := f.known(pgno); ok || f.windows == nil {
		return e, ok, nil
	}
	return f.windows.find(ctx, pgno)
}

// known is find without a request.
func (f *file) known(pgno uint32) (format.PageEntry, bool) {
	index := f.index
	if index == nil {
		index = f.loaded.Load()
	}
	if index == nil {
		return f.windows.known(pgno)
	}
	return index.Find(pgno)
}

// listedFile is a file as listed. A replaced file has another listing.
type listedFile struct {
	format.FileInfo
	written int64
}

func listed(f replica.File) listedFile { return listedFile{f.FileInfo, f.Written.UnixNano()} }

const (
	smallFile = 64 << 10 // bytes up to which a file is read whole, in one request
	leastTail = 16 << 10 // bytes read first from a larger file's end
	tailShare = 80       // and at least this share of the file: most indexes are smaller
	leastHead = 8 << 10  // bytes read first from its beginning: the header, and usually page 1

	// wholeHead and wholeTail are how many bytes load first reads from the two ends of a
	// whole database: page 1 and usually the pages of the schema, and a window of the
	// index.
	wholeHead = 64 << 10
	wholeTail = windowSize

	// mostIndex bounds the size of an index, in bytes of the file, that is loaded into
	// memory, where it takes a quarter of that.
	mostIndex = 32 << 20

	// parallel is how many files are loaded at once.
	parallel = 64
)

// load reads a file's header and finds its pages. It does not read a file again that a
// view already has.
func (s *source) load(ctx context.Context, at replica.File) (*file, error) {
	key := listed(at)
	s.mu.Lock()
	f := s.files[key].Value()
	s.mu.Unlock()
	if f != nil {
		return f, nil
	}
	f, err := s.read(ctx, at.FileInfo)
	if err != nil {
		return nil, err
	}
	f.written = key.written
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[key] = weak.Make(f)
	if len(s.files) > 2*s.swept+64 {
		maps.DeleteFunc(s.files, func(_ listedFile, w weak.Pointer[file]) bool { return w.Value() == nil })
		s.swept = len(s.files)
	}
	return f, nil
}

func (s *source) read(ctx context.Context, info format.FileInfo) (*file, error) {
	head, tail, err := s.ends(ctx, info)
	if err != nil {
		return nil, err
	}
	f := &file{info: info}
	if f.header, err = format.ParseLTXHeader(head[:format.LTXHeaderSize]); err == nil {
		err = replica.Match(f.header, info)
	}
	if err != nil {
		return nil, s.damaged(info, err)
	}
	t, err := format.ParseLTXTrailer(tail[len(tail)-format.LTXTrailerSize:])
	if err != nil {
		return nil, s.damaged(info, err)
	}
	f.checksum = t.FileChecksum
	if len(tail) == int(info.Size) { // the whole file can be checked
		if _, _, err := format.Decode(bytes.NewReader(tail), func(format.LTXHeader, uint32, []byte) error { return nil }); err != nil {
			return nil, s.damaged(info, err)
		}
	}
	if f.header.IsSnapshot() {
		offset, size, err := s.replica.IndexRange(info, tail)
		if err != nil {
			return nil, err
		}
		if size > int64(len(tail)) {
			s.openWindows(f, offset, size, head)
			return f, nil
		}
	}
	if f.index, err = s.replica.IndexWith(ctx, info, tail); err != nil {
		return nil, err
	}
	if err := checkIndex(f, f.index); err != nil {
		return nil, s.damaged(info, err)
	}
	if len(tail) == int(info.Size) {
		s.pages.seed(f, slices.Collect(f.index.All()), tail)
	} else if e, ok := f.index.Find(1); ok && e.End() <= int64(len(head)) {
		s.pages.seed(f, []format.PageEntry{e}, head)
	}
	return f, nil
}

// openWindows sets up windows to find the pages of a whole database in its index. The
// pages at the beginning of the file are known.
func (s *source) openWindows(f *file, offset, size int64, head []byte) {
	h := f.header
	f.windows = &windows{
		size:  size,
		pages: h.Commit,
		lock:  format.LockPage(h.PageSize),
		end:   offset - format.PageEndSize,
		read: func(ctx context.Context, at, length int64) ([]byte, error) {
			return s.replica.Read(ctx, f.info, offset+at, length)
		},
	}
	var entries []format.PageEntry
	for at, next := int64(format.LTXHeaderSize), uint32(1); ; next = f.windows.next(next) {
		frame, err := format.CutPageFrame(head[at:], h.PageSize)
		if err != nil || frame.Size() == 0 || frame.Number != next {
			break
		}
		entries = append(entries, format.PageEntry{Number: next, Offset: at, Size: int64(frame.Size())})
		at += int64(frame.Size())
	}
	f.windows.head(entries)
	s.pages.seed(f, entries, head)
}

// loadIndex loads the index of a whole database in the background, once, unless it is too
// large. Afterwards, a page that is not cached takes one request instead of two.
func (s *source) loadIndex(f *file) {
	if f.mayLoad() {
		s.pages.background.Go(func() { s.fetchIndex(s.pages.ctx, f) })
	}
}

// mayLoad reports whether the caller must load the index.
func (f *file) mayLoad() bool {
	return f.windows != nil && f.windows.size <= mostIndex && !f.loading.Swap(true)
}

// fetchIndex loads the index. If that fails, later reads use windows of the index.
func (s *source) fetchIndex(ctx context.Context, f *file) {
	index, err := s.replica.Index(ctx, f.info)
	if err == nil {
		err = checkIndex(f, index)
	}
	switch {
	case err == nil:
		f.loaded.Store(index)
	case ctx.Err() != nil:
		f.loading.Store(false) // a later attempt may have enough time
	default:
		s.log.Warn("loading a page index failed", "file", s.replica.Name(f.info), "error", err)
	}
}

// ends reads a file's header and its last bytes concurrently.
func (s *source) ends(ctx context.Context, info format.FileInfo) (head, tail []byte, err error) {
	if info.Size < format.LTXHeaderSize+format.PageIndexTail {
		return nil, nil, s.damaged(info, fmt.Errorf("%w: it has %d bytes", format.ErrCorrupt, info.Size))
	}
	if info.Size <= smallFile {
		tail, err = s.replica.Read(ctx, info, 0, info.Size)
		if err != nil {
			return nil, nil, err
		}
		return tail, tail, nil
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		n := int64(leastHead)
		if info.MinTXID == 1 {
			n = min(info.Size, wholeHead)
		}
		head, err = s.replica.Read(ctx, info, 0, n)
		return err
	})
	g.Go(func() (err error) {
		n := max(leastTail, info.Size/tailShare)
		if info.MinTXID == 1 {
			n = min(info.Size, wholeTail)
		}
		tail, err = s.replica.Read(ctx, info, info.Size-n, n)
		return err
	})
	return head, tail, g.Wait()
}

// checkIndex compares the index of a file with the size of the database.
func checkIndex(f *file, index *replica.Index) error {
	h := f.header
	last, pages := h.Commit, int(h.Commit)
	if lock := format.LockPage(h.PageSize); h.Commit >= lock {
		pages--
		if h.Commit == lock {
			last--
		}
	}
	if h.IsSnapshot() && index.Len() != pages {
		return fmt.Errorf("%w: it has %d pages of a database of %d", format.ErrCorrupt, index.Len(), pages)
	}
	for e := range index.From(last + 1) {
		return fmt.Errorf("%w: it has page %d of a database of %d pages", format.ErrCorrupt, e.Number, h.Commit)
	}
	return nil
}

func (s *source) damaged(info format.FileInfo, err error) error {
	return &replica.Damaged{File: info, Name: s.replica.Name(info), Err: err}
}

// build returns the view of a TXID, or of the newest if txid is 0. It replaces damaged
// and missing files with other files that lead to the same TXID.
func (s *source) build(ctx context.Context, files replica.Files, txid format.TXID) (*view, error) {
	files, txid = s.fit(files, txid)
	var first error
	for {
		plan, err := files.Plan(txid)
		if err != nil && first != nil {
			return nil, fmt.Errorf("%w; no other files lead to TXID %s", first, txid)
		}
		if err != nil {
			return nil, s.replica.PlanError(err)
		}
		v, err := s.assemble(ctx, plan)
		if err == nil {
			if at, ok := files.At(v.txid); ok && at.Level == format.LevelRaw {
				v.raw = at.FileInfo
			}
			return v, nil
		}
		bad, ok := badFile(err)
		if !ok {
			return nil, err
		}
		s.log.Warn("replica file cannot be used, reading other files", "error", err)
		if first == nil {
			first = err
		}
		files, txid = files.Without(bad), plan.TXID()
	}
}

// fit returns the files without those known to be damaged, if the rest leads to the same
// TXID; otherwise it returns all: most pages of a damaged file are readable.
func (s *source) fit(files replica.Files, txid format.TXID) (replica.Files, format.TXID) {
	s.mu.Lock()
	rest := slices.DeleteFunc(slices.Clone(files), func(f replica.File) bool { return s.unfit[listed(f)] })
	s.mu.Unlock()
	if len(rest) == len(files) {
		return files, txid
	}
	plan, err := files.Plan(txid)
	if err != nil {
		return files, txid
	}
	if _, err := rest.Plan(plan.TXID()); err != nil {
		return files, txid
	}
	return rest, plan.TXID()
}

// badFile returns the file that an error reports as damaged or gone.
func badFile(err error) (format.FileInfo, bool) {
	if e, ok := errors.AsType[*replica.Damaged](err); ok {
		return e.File, true
	}
	if e, ok := errors.AsType[*replica.Missing](err); ok {
		return e.File, true
	}
	return format.FileInfo{}, false
}

func isBad(err error) bool {
	_, bad := badFile(err)
	return bad
}

// assemble loads the files of a plan concurrently. Files before the last whole database
// are not needed.
func (s *source) assemble(ctx context.Context, plan replica.Plan) (*view, error) {
	apply := plan.Apply
	for i, f := range slices.Backward(apply) {
		if f.MinTXID == 1 {
			apply = apply[i:]
			break
		}
	}
	files, err := s.loadAll(ctx, plan.Listed, apply)
	if err != nil {
		return nil, err
	}
	v := newView(files[0])
	for _, f := range files[1:] {
		if err := v.precedes(f); err != nil {
			return nil, s.damaged(f.info, err)
		}
		v = v.with(f)
	}
	return v, nil
}

// loadAll loads files in parallel, and returns them in the order of infos.
func (s *source) loadAll(ctx context.Context, all replica.Files, infos []format.FileInfo) ([]*file, error) {
	files := make([]*file, len(infos))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, info := range infos {
		at := slices.IndexFunc(all, func(f replica.File) bool { return f.FileInfo == info })
		g.Go(func() (err error) {
			files[i], err = s.load(ctx, all[at])
			return err
		})
	}
	return files, g.Wait()
}

// precedes reports why a file cannot follow a view.
func (v *view) precedes(f *file) error {
	h := f.header
	switch {
	case h.MinTXID > v.txid+1:
		return fmt.Errorf("%w: it begins at TXID %s, after TXID %s", format.ErrCorrupt, h.MinTXID, v.txid)
	case h.PageSize != v.pageSize:
		return fmt.Errorf("%w: its page size is %d, and not %d", format.ErrCorrupt, h.PageSize, v.pageSize)
	}
	return nil
}
