package replica

import (
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
)

// Below yields the paths of the replicas below a store's own path, in order, including
// replicas of Litestream before 0.5. Once it sees a replica's first file, it starts a new
// listing after the replica's last file. So it makes one request for each replica, and
// one for each thousand objects that belong to no replica. It ends after "most" of these
// objects; zero is no limit.
func Below(ctx context.Context, store storage.Store, most int) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		last, seen := "", 0
		for after, more := "", true; more; {
			more = false
			for obj, err := range store.List(ctx, "", after) {
				if err != nil {
					yield("", err)
					return
				}
				path, end, ok := replicaOf(obj.Key)
				if !ok {
					if seen++; seen == most {
						return
					}
					continue
				}
				if path != "" && path != last && !yield(path, nil) {
					return
				}
				last, after, more = path, end, true
				break
			}
		}
	}
}

// replicaOf returns the path of the replica that an object belongs to, and a key after
// all keys of that replica with the same layout.
func replicaOf(key string) (path, end string, ok bool) {
	parts := strings.Split(key, "/")
	for _, l := range []format.Layout{format.LayoutDecimal, format.LayoutHex} {
		n := max(0, len(parts)-strings.Count(l.Key(0, 1, 1), "/")-1)
		if _, ok := l.Parse(strings.Join(parts[n:], "/")); ok {
			path := strings.Join(parts[:n], "/")
			return path, join(path, strings.TrimSuffix(l.Dir(format.LevelSnapshot), "/")+"0"), true
		}
	}
	if n := slices.Index(parts, keyOfOld); n >= 0 && n < len(parts)-1 {
		path := strings.Join(parts[:n], "/")
		return path, join(path, keyOfOld+"0"), true
	}
	return "", "", false
}

// join puts a key below a path. A "0" in place of a slash sorts after all keys that
// continue with the slash.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "/" + key
}
