package restore

import (
	"context"
	"errors"
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
// there, if nobody else has; without this, the replica would be a stranger's. It is
// written before the database gets its name, so that nobody finds one without the
// other. Undo puts back what was there.
func (t *temp) remember(store storage.Store, mark *sidecar.Mark, db *database) (undo func(), err error) {
	name := t.place.path + sidecar.Suffix
	old, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	had := err == nil
	undo = func() {
		if had {
			os.WriteFile(name, old, 0o600)
		} else {
			os.Remove(name)
		}
	}
	if mark == nil {
		return undo, forget(t.place.path)
	}
	id, err := sidecar.Identify(t.name)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(t.name)
	if err != nil {
		return nil, err
	}
	s := sidecar.New(store.String(), id)
	s.Acked, s.Restored = mark, true
	s.State = &sidecar.State{PageSize: db.pageSize, Floor: db.pages, Closed: sidecar.ClosedAs(info)}
	return undo, s.Save(t.place.path)
}

// forget removes the sidecar of the database that was replaced.
func forget(target string) error {
	err := os.Remove(target + sidecar.Suffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
