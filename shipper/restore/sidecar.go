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

// markOf returns what tells the newest file of a replica from every other one with
// its TXID, nil if the plan does not lead there. The checksum of the plan's last
// file is known later. Another one may be gone then, so that it is read first.
func markOf(ctx context.Context, store storage.Store, p plan, opts Options) (*sidecar.Mark, error) {
	f := p.newest
	switch f {
	case format.FileInfo{}:
		return nil, nil
	case p.files[len(p.files)-1]:
		return &sidecar.Mark{TXID: f.MaxTXID}, nil
	}
	n := min(f.Size, format.LTXTrailerSize)
	r := newResumer(ctx, store, f, opts.Logger).within(f.Size-n, n)
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
	if mark.Checksum == 0 { // it was the plan's last file
		mark.Checksum = db.checksum
	}
	mark.Rebase = db.rebased // Litestream needs a snapshot for it
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
