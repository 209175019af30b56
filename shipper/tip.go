package shipper

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
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
	info, err := newest(ctx, store, from)
	if err != nil || info.MaxTXID == 0 {
		return nil, err
	}
	tip := &Tip{FileInfo: info}
	key := store.Layout().Key(info.Level, info.MinTXID, info.MaxTXID)
	head, err := readRange(ctx, store, key, 0, format.LTXHeaderSize)
	if err != nil {
		return nil, err
	}
	if tip.Header, err = format.ParseLTXHeader(head); err != nil {
		return nil, fmt.Errorf("%s/%s: %w", store, key, err)
	}
	tail, err := readRange(ctx, store, key, info.Size-format.LTXTrailerSize, format.LTXTrailerSize)
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

func newest(ctx context.Context, store storage.Store, from format.TXID) (tip format.FileInfo, err error) {
	layout := store.Layout()
	startAfter := ""
	if from > 1 {
		startAfter = layout.Key(format.LevelRaw, from-1, from-1)
	}
	for obj, err := range store.List(ctx, layout.Prefix(), startAfter) {
		if err != nil {
			return tip, err
		}
		// Of two files that end at one TXID, the first one's level is lower: it
		// is the one whose checksum its writer remembers.
		if f, ok := layout.Parse(obj.Key); ok && f.MaxTXID > tip.MaxTXID {
			tip = f
			tip.Size = obj.Size
		}
	}
	if tip.MaxTXID < from {
		return newest(ctx, store, 0)
	}
	return tip, nil
}

func readRange(ctx context.Context, store storage.Store, key string, off, n int64) ([]byte, error) {
	r, _, err := store.Open(ctx, key, max(off, 0), n)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("read %s/%s: %w", store, key, err)
	}
	return b, nil
}

// readBack finds out whose file stands under the key of an upload that the store
// refused because of it. An answer that was lost, or a retry inside the SDK, makes
// it our own: that is a success.
func (s *Shipper) readBack(ctx context.Context, up *upload) error {
	ours, err := s.isOurs(ctx, up)
	if err != nil {
		return err
	}
	if !ours {
		return fmt.Errorf("%w: %s/%s was written by somebody else", ErrFenced, s.store, up.key)
	}
	return nil
}

func (s *Shipper) isOurs(ctx context.Context, up *upload) (bool, error) {
	r, attrs, err := s.store.Open(ctx, up.key, 0, format.LTXHeaderSize)
	if err != nil {
		return false, err
	}
	head, err := io.ReadAll(r)
	r.Close()
	if err != nil {
		return false, err
	}
	if attrs.WriteID != "" {
		return attrs.WriteID == up.writeID, nil
	}
	// The store keeps no write ID. The header has the node and the time, and the
	// trailer a checksum of everything: equal ones are the same file.
	if same, err := sameBytes(up.body, 0, head); err != nil || !same {
		return false, err
	}
	end := up.body.size - format.LTXTrailerSize
	r, _, err = s.store.Open(ctx, up.key, end, -1)
	if err != nil {
		return false, err
	}
	defer r.Close()
	tail, err := io.ReadAll(io.LimitReader(r, format.LTXTrailerSize+1))
	if err != nil {
		return false, err
	}
	if len(tail) != format.LTXTrailerSize {
		return false, nil
	}
	return sameBytes(up.body, end, tail)
}

// sameBytes reports whether body has b at off.
func sameBytes(body storage.Body, off int64, b []byte) (bool, error) {
	mine := make([]byte, len(b))
	if _, err := body.ReadAt(mine, off); err != nil && err != io.EOF {
		return false, err
	}
	return bytes.Equal(mine, b), nil
}

func newWriteID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// ErrNoFencing: the store cannot tell two writers apart.
var ErrNoFencing = errors.New("the store does not support put-if-absent, so that two writers could mix their histories")

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
