package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/sidecar"
	"github.com/walvfs/walvfs/shipper/storage"
)

// newestFile returns the newest file if it ends at the TXID. Of those that do, it
// is the one of the lowest level: that is what a writer goes on from.
func newestFile(files []format.FileInfo, txid format.TXID) (newest format.FileInfo) {
	for _, f := range files {
		if f.MaxTXID > newest.MaxTXID || f.MaxTXID == newest.MaxTXID && f.Level < newest.Level {
			newest = f
		}
	}
	if newest.MaxTXID != txid {
		return format.FileInfo{}
	}
	return newest
}

// markOf returns what tells a file from every other one with its TXID, nil for no
// file. It has been seen if it was the last one applied.
func markOf(ctx context.Context, store storage.Store, f format.FileInfo, db *database, opts Options) (*sidecar.Mark, error) {
	switch f {
	case format.FileInfo{}:
		return nil, nil
	case db.last:
		return &sidecar.Mark{TXID: f.MaxTXID, Checksum: db.checksum}, nil
	}
	r := newResumer(ctx, store, f, opts.Logger)
	r.offset = max(0, f.Size-format.LTXTrailerSize)
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, objectError("read", store, f, err)
	}
	trailer, err := format.ParseLTXTrailer(b)
	if err != nil {
		return nil, objectError("verify", store, f, err)
	}
	return &sidecar.Mark{TXID: f.MaxTXID, Checksum: trailer.FileChecksum}, nil
}

// remember leaves beside the database which file of the replica it equals, if it
// is the newest. An application that opens it with the same replica goes on from
// there, if nobody else has; without this, the replica would be a stranger's.
func remember(target string, store storage.Store, mark *sidecar.Mark, db *database) error {
	if mark == nil {
		return forget(target)
	}
	info, err := os.Stat(target)
	if err == nil {
		device, inode := sidecar.Identify(info)
		s := sidecar.New(store.String(), device, inode)
		s.Acked, s.Restored = mark, true
		s.State = &sidecar.State{PageSize: db.pageSize, Floor: db.pages, Closed: sidecar.ClosedAs(info)}
		err = s.Save(target)
	}
	if err != nil {
		return fmt.Errorf("the database is restored, but replication will not go on from it: %w", err)
	}
	return nil
}

// forget removes the sidecar of the database that was replaced.
func forget(target string) error {
	err := os.Remove(target + sidecar.Suffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
