package reader

import (
	"context"
	"slices"
	"time"

	"github.com/walvfs/walvfs/shipper/replica"
)

// at returns the view of a moment.
func (s *source) at(ctx context.Context, t replica.Target) (*view, error) {
	files, err := s.replica.Files(ctx)
	if err != nil {
		return nil, err
	}
	txid := t.TXID
	if !t.Timestamp.IsZero() {
		if txid, err = s.replica.TXIDAt(ctx, s.dated(files), t.Timestamp); err != nil {
			return nil, err
		}
	}
	return s.build(ctx, files, txid)
}

// dated returns the files, and sets the time of each file that a view has, so that a
// search for a time does not read its header. Among files that end at one TXID, only the
// file of the lowest level gets its time, the most exact.
func (s *source) dated(files replica.Files) replica.Files {
	files = slices.Clone(files)
	files.Sort()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, at := range files {
		if i > 0 && files[i-1].MaxTXID == at.MaxTXID {
			continue
		}
		if f := s.files[listed(at)].Value(); f != nil {
			files[i].Time = time.UnixMilli(f.header.Timestamp)
		}
	}
	return files
}
