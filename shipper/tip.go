package shipper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sync"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
)

// FindTip returns the replica's newest file, nil if it has none. Files of level
// 0 before the TXID from are not listed, where there is one at or after it.
func FindTip(ctx context.Context, store storage.Store, from format.TXID) (*Tip, error) {
	startAfter := ""
	if from > 1 {
		startAfter = store.Layout().Key(format.LevelRaw, from-1, from-1)
	}
	info, err := newest(ctx, store, store.Layout().Prefix(), startAfter)
	switch {
	case err != nil:
		return nil, err
	case info.MaxTXID < from:
		return FindTip(ctx, store, 0)
	case info.MaxTXID == 0:
		return nil, nil
	}
	return readTip(ctx, store, info)
}

// newest lists files and returns the one with the newest TXID. Of two that end
// at one, that is the one of the lower level, which its writer remembers.
func newest(ctx context.Context, store storage.Store, prefix, startAfter string) (tip format.FileInfo, err error) {
	layout := store.Layout()
	for obj, err := range store.List(ctx, prefix, startAfter) {
		if err != nil {
			return tip, err
		}
		if f, ok := layout.Parse(obj.Key); ok && f.MaxTXID > tip.MaxTXID {
			tip = f
			tip.Size = obj.Size
		}
	}
	return tip, nil
}

// readTip reads what tells a file from every other one with its TXID.
func readTip(ctx context.Context, store storage.Store, info format.FileInfo) (*Tip, error) {
	tip := &Tip{FileInfo: info}
	key := store.Layout().Key(info.Level, info.MinTXID, info.MaxTXID)
	head, _, err := readRange(ctx, store, key, 0, format.LTXHeaderSize)
	if err != nil {
		return nil, err
	}
	if tip.Header, err = format.ParseLTXHeader(head); err != nil {
		return nil, fmt.Errorf("%s/%s: %w", store, key, err)
	}
	tail, _, err := readRange(ctx, store, key, max(0, info.Size-format.LTXTrailerSize), format.LTXTrailerSize)
	if err != nil {
		return nil, err
	}
	trailer, err := format.ParseLTXTrailer(tail)
	if err != nil {
		return nil, fmt.Errorf("%s/%s: %w", store, key, err)
	}
	tip.Checksum = trailer.FileChecksum
	tip.Time = time.UnixMilli(tip.Header.Timestamp)
	return tip, nil
}

// readRange reads up to n bytes of an object.
func readRange(ctx context.Context, store storage.Store, key string, off, n int64) ([]byte, storage.Attrs, error) {
	r, attrs, err := store.Open(ctx, key, off, n)
	if err != nil {
		return nil, attrs, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, n))
	if err != nil {
		return nil, attrs, fmt.Errorf("read %s/%s: %w", store, key, err)
	}
	return b, attrs, nil
}

// errEarlierUpload: under the key of an upload stands one that an earlier run of
// this database gave up, and the store did not.
var errEarlierUpload = errors.New("an earlier upload has arrived late")

// readBack finds out whose file stands under the key of an upload that the store
// refused because of it. An answer that was lost, or a retry inside the SDK, makes
// it our own: that is a success.
func (s *Shipper) readBack(ctx context.Context, up *upload) error {
	_, attrs, err := readRange(ctx, s.store, up.key, 0, 0)
	if err != nil || attrs.WriteID != "" && attrs.WriteID == up.writeID {
		return err
	}
	info, err := newest(ctx, s.store, up.key, "")
	if err != nil {
		return err
	}
	if info.MaxTXID == 0 {
		return fmt.Errorf("%s/%s was deleted while it was looked at", s.store, up.key)
	}
	theirs, err := readTip(ctx, s.store, info)
	switch {
	case errors.Is(err, format.ErrCorrupt):
		// Whatever it is, it is in our place.
	case err != nil:
		return err
	case attrs.WriteID == "" && theirs.Checksum == up.Checksum && theirs.Header == up.header:
		// The store keeps no write ID. The header has the node and the time, the
		// checksum covers everything: this is the same file.
		return nil
	case s.source.Intended(Position{TXID: up.TXID, Checksum: theirs.Checksum}):
		return errEarlierUpload
	}
	return fmt.Errorf("%w: %s/%s was written by somebody else", ErrFenced, s.store, up.key)
}

// ErrNoFencing: the store cannot tell two writers apart.
var ErrNoFencing = errors.New("the store does not support put-if-absent, so that two writers could mix their histories: use another one, or set fencing=off and see to it that there is one writer")

// fenced remembers the buckets that are known to honour put-if-absent.
var fenced sync.Map

// checkFencing finds out, once a bucket and process, whether put-if-absent works.
func checkFencing(ctx context.Context, store storage.Store) error {
	bucket := store.String()
	if u, err := url.Parse(bucket); err == nil && u.Host != "" {
		bucket = u.Scheme + "://" + u.Host
	}
	if _, known := fenced.Load(bucket); known {
		return nil
	}
	condition, err := storage.Probe(ctx, store)
	if err != nil {
		return err
	}
	if condition != storage.ConditionSupported {
		return fmt.Errorf("%w: %s: condition %s", ErrNoFencing, bucket, condition)
	}
	fenced.Store(bucket, true)
	return nil
}

// Follows reports whether the replica's newest files may follow a level 0 file, and
// not another one of that TXID. Retention may have removed it.
func Follows(ctx context.Context, store storage.Store, pos Position) (bool, error) {
	info, err := newest(ctx, store, store.Layout().Key(format.LevelRaw, pos.TXID, pos.TXID), "")
	if info.MaxTXID == 0 || err != nil {
		return err == nil, err
	}
	tip, err := readTip(ctx, store, info)
	return err == nil && tip.Checksum == pos.Checksum, err
}
