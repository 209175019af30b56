package shipping

import (
	"context"
	"errors"
	"io"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
)

// rebase uploads a file with every page once more, as the snapshot of its TXID: its page
// size differs from that of the files before, and a restore starts with a snapshot. The
// source remembers the rebase, in case of a crash in between.
func (s *Shipper) rebase(ctx context.Context, up *upload) error {
	body := &spool{dir: s.opts.SpoolDir}
	defer body.Close()
	if err := s.encodeSnapshot(body, up); err != nil {
		return err
	}
	key := s.store.Layout().Key(format.LevelSnapshot, 1, up.TXID)
	err := s.store.Create(ctx, key, body, storage.Attrs{Time: up.Time, WriteID: up.writeID})
	if errors.Is(err, storage.ErrExists) {
		return nil // an earlier try made it; the TXID is ours
	}
	return err
}

// encodeSnapshot writes an upload that has every page as a file from TXID 1.
func (s *Shipper) encodeSnapshot(w io.Writer, up *upload) error {
	enc, err := format.NewEncoder(w, format.LTXHeader{
		PageSize:  up.header.PageSize,
		Commit:    up.header.Commit,
		MinTXID:   1,
		MaxTXID:   up.TXID,
		Timestamp: up.header.Timestamp,
		NodeID:    up.header.NodeID,
	})
	if err != nil {
		return err
	}
	defer enc.Abort()
	_, _, err = format.Decode(io.NewSectionReader(up.body, 0, up.body.Size()), func(_ format.LTXHeader, pgno uint32, page []byte) error {
		return enc.Page(pgno, page)
	})
	if err != nil {
		return err
	}
	_, err = enc.Close()
	return err
}
