package replica

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
)

// A File is a file of a replica as listed. Its Time is unknown: a listing has the time
// when an object was written, not when its content was committed.
type File struct {
	format.FileInfo
	Written time.Time // by the store's clock
}

// List yields the files of all levels, from level 0 up: in level 0 only files from a TXID
// onwards, in the levels above all files. So if compaction replaces a file during the
// listing, List still yields its content in the level above. It leaves out objects that
// are no files of a replica. After an error it yields nothing more.
func (r *Replica) List(ctx context.Context, from format.TXID) iter.Seq2[File, error] {
	layout := format.Layout(r.layout.Load())
	return r.list(ctx, layout, layout.Prefix(), startAt(layout, format.LevelRaw, from))
}

// ListLevel yields the files of one level that begin at or after a TXID, in order.
func (r *Replica) ListLevel(ctx context.Context, level int, from format.TXID) iter.Seq2[File, error] {
	layout := format.Layout(r.layout.Load())
	return r.list(ctx, layout, layout.Dir(level), startAt(layout, level, from))
}

// startAt returns a key directly before the files of a level with that MinTXID or a later
// one.
func startAt(l format.Layout, level int, from format.TXID) string {
	if from <= 1 {
		return ""
	}
	return l.Dir(level) + from.String() // before "MIN-MAX.ltx"
}

func (r *Replica) list(ctx context.Context, layout format.Layout, prefix, startAfter string) iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		for obj, err := range r.store.List(ctx, prefix, startAfter) {
			if err != nil {
				yield(File{}, err)
				return
			}
			f, ok := layout.Parse(obj.Key)
			if !ok {
				continue
			}
			f.Size = obj.Size
			if !yield(File{f, obj.ModTime}, nil) {
				return
			}
		}
	}
}

// Files are the files of one listing.
type Files []File

// Collect returns the files that a listing yields.
func Collect(listing iter.Seq2[File, error]) (files Files, err error) {
	for f, err := range listing {
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// Files lists a replica for reading: one listing of all levels. If it finds no file, its
// error wraps [ErrNone], or describes what exists instead. Files also finds files that were
// copied from another kind of store with their keys, and the replica then reads these keys.
func (r *Replica) Files(ctx context.Context) (Files, error) {
	files, err := Collect(r.List(ctx, 0))
	if err != nil || len(files) > 0 {
		return files, err
	}
	return r.foreign(ctx)
}

// Infos returns the files without the data that only a listing has.
func (f Files) Infos() []format.FileInfo {
	infos := make([]format.FileInfo, len(f))
	for i := range f {
		infos[i] = f[i].FileInfo
	}
	return infos
}

// Newest returns the newest TXID at which a file ends, 0 without files.
func (f Files) Newest() (txid format.TXID) {
	for i := range f {
		txid = max(txid, f[i].MaxTXID)
	}
	return txid
}

// At returns the file that ends at a TXID, of the lowest level that has one. A writer
// continues from that file, and its time is the most reliable: Litestream's snapshots
// carry the time when they were made.
func (f Files) At(txid format.TXID) (at File, ok bool) {
	for _, g := range f {
		if g.MaxTXID == txid && (!ok || g.Level < at.Level) {
			at, ok = g, true
		}
	}
	return at, ok
}

// Has reports whether the listing has a file.
func (f Files) Has(info format.FileInfo) bool {
	return slices.ContainsFunc(f, func(g File) bool { return g.FileInfo == info })
}

// Restorable returns the TXIDs for which a plan exists, ascending.
func (f Files) Restorable() []format.TXID { return format.Restorable(f.Infos()) }

// Without returns the files except for the given files.
func (f Files) Without(out ...format.FileInfo) Files {
	return slices.DeleteFunc(slices.Clone(f), func(g File) bool { return slices.Contains(out, g.FileInfo) })
}

// Sort orders files by their last TXID. If several end at one TXID, the lower level comes
// first.
func (f Files) Sort() {
	slices.SortFunc(f, func(a, b File) int {
		return cmp.Or(cmp.Compare(a.MaxTXID, b.MaxTXID), cmp.Compare(a.Level, b.Level), cmp.Compare(a.MinTXID, b.MinTXID))
	})
}

// All lists the files of a replica that may have none: one listing of all levels.
func All(ctx context.Context, store storage.Store) (Files, error) {
	return Collect(New(store, Options{}).List(ctx, 0))
}
