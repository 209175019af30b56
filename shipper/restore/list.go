package restore

import (
	"context"
	"fmt"
	"strings"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
)

// ListFiles returns the LTX files of all levels of a replica, in no particular
// order. Their Time is left out: a listing tells when an object was written, not
// when its content was. A replica without files is no error.
func ListFiles(ctx context.Context, store storage.Store) ([]format.FileInfo, error) {
	layout := store.Layout()
	var files []format.FileInfo
	// One listing for all levels, which costs a tenth of the requests of ten.
	// It goes from the lowest level up, so that a file that compaction replaces
	// while we list is seen again in the level above.
	for obj, err := range store.List(ctx, levelsPrefix(layout), "") {
		if err != nil {
			return nil, err
		}
		f, ok := layout.Parse(obj.Key)
		if !ok {
			continue
		}
		f.Size = obj.Size
		files = append(files, f)
	}
	return files, nil
}

// levelsPrefix is what the keys of all levels begin with, and few others do.
func levelsPrefix(l format.Layout) string {
	lo, hi := l.Dir(format.LevelRaw), l.Dir(format.LevelSnapshot)
	n := 0
	for n < min(len(lo), len(hi)) && lo[n] == hi[n] {
		n++
	}
	return lo[:n]
}

// explainEmpty returns the error for a replica without LTX files. It is
// [ErrNoReplica] only if there is no backup that we merely cannot read: whoever
// takes "no replica" for an answer goes on to start with an empty database.
func explainEmpty(ctx context.Context, store storage.Store) error {
	e := &Error{Op: "list", Name: store.String()}
	for _, f := range foreign(store.Layout()) {
		found, err := hasKeys(ctx, store, f.prefix)
		if err != nil {
			return err
		}
		if found {
			e.Err = fmt.Errorf("there are no LTX files, but objects under %s: %s", f.prefix, f.what)
			e.Hint = f.hint
			return e
		}
	}
	e.Err = ErrNoReplica
	e.Hint = "check the path of the URL; it may also be that nothing was shipped to it yet"
	return e
}

// foreignKeys are keys that [ListFiles] does not see but that mean a backup.
type foreignKeys struct{ prefix, what, hint string }

func foreign(l format.Layout) []foreignKeys {
	other := format.LayoutDecimal
	if l == other {
		other = format.LayoutHex
	}
	const what = "the keys of a replica in another kind of store"
	hint := "copy the objects to keys such as " + l.Key(format.LevelRaw, 1, 1)
	return []foreignKeys{
		{other.Dir(format.LevelRaw), what, hint},
		{other.Dir(format.LevelSnapshot), what, hint},
		{"generations/", "a replica of Litestream before 0.5, in another format", "restore it with the Litestream that wrote it"},
	}
}

func hasKeys(ctx context.Context, store storage.Store, prefix string) (bool, error) {
	for obj, err := range store.List(ctx, prefix, "") {
		if err != nil {
			return false, err
		}
		return strings.HasPrefix(obj.Key, prefix), nil
	}
	return false, nil
}

// sum adds up what a list of files weighs.
func sum(files []format.FileInfo) (bytes int64) {
	for _, f := range files {
		bytes += f.Size
	}
	return bytes
}
