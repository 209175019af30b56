package replica

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
)

// ErrNone: the replica has no files, and a listing proves it.
var ErrNone = errors.New("no replica here: there are no LTX files")

// foreign looks for files under the keys of another kind of store. It fails with
// [ErrNone] only if there is no backup, not even one that walvfs cannot read: a caller
// that gets "no replica" continues with an empty database.
func (r *Replica) foreign(ctx context.Context) (Files, error) {
	other := r.otherLayout()
	files, err := Collect(r.list(ctx, other, other.Prefix(), ""))
	if err != nil {
		return nil, err
	}
	if len(files) > 0 {
		r.layout.Store(int64(other))
		return files, nil
	}
	old, err := r.hasKeys(ctx, keyOfOld+"/")
	if err != nil {
		return nil, err
	}
	if old {
		return nil, r.none(fmt.Errorf("there are no LTX files, but objects under %s/: a replica of Litestream before 0.5, in another format", keyOfOld),
			"restore it with the Litestream that wrote it")
	}
	var below []string
	for path, err := range Below(ctx, r.store, mostLooked) {
		if err != nil {
			return nil, err
		}
		if below = append(below, path); len(below) > mostNamed {
			break
		}
	}
	if len(below) > 0 {
		return nil, r.none(fmt.Errorf("%w; there are replicas below: %s", ErrNone, listNames(below)), "name one of them: "+r.store.String()+"/"+below[0])
	}
	return nil, r.none(ErrNone, "check the path of the URL; it may also be that nothing was shipped to it yet")
}

func (r *Replica) otherLayout() format.Layout {
	if r.store.Layout() == format.LayoutDecimal {
		return format.LayoutHex
	}
	return format.LayoutDecimal
}

// Begins reports why a replica without a file cannot begin: there is a file under the
// keys of another kind of store, as in a copy of a bucket on disk. Such a replica can be
// read.
func (r *Replica) Begins(ctx context.Context) error {
	other := r.otherLayout()
	for f, err := range r.list(ctx, other, other.Prefix(), "") {
		if err != nil {
			return err
		}
		return r.none(foreignError(other.Key(f.Level, f.MinTXID, f.MaxTXID)), "walvfs can read it, but not continue it here: use another URL")
	}
	return nil
}

// A foreignError holds a key of a replica that cannot be continued. Only an operator can
// fix that.
type foreignError string

func (e foreignError) Error() string {
	return "a replica is there with the keys of another kind of store, such as " + string(e)
}

func (foreignError) Is(target error) bool { return target == storage.ErrRefused }

// keyOfOld is the prefix of the keys of Litestream before 0.5.
const keyOfOld = "generations"

const (
	mostNamed  = 5      // replicas below a path that an error names
	mostLooked = 10_000 // objects listed to find them
)

func listNames(below []string) string {
	if len(below) > mostNamed {
		return strings.Join(below[:mostNamed], ", ") + ", ..."
	}
	return strings.Join(below, ", ")
}

func (r *Replica) none(err error, hint string) error {
	return &storage.Error{Op: "list", URL: r.store.String(), Err: err, Hint: hint}
}

func (r *Replica) hasKeys(ctx context.Context, prefix string) (bool, error) {
	for obj, err := range r.store.List(ctx, prefix, "") {
		if err != nil {
			return false, err
		}
		return strings.HasPrefix(obj.Key, prefix), nil
	}
	return false, nil
}
