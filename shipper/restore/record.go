package restore

import (
	"context"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/shipper/storage"
)

// marks distinguish files of a replica from all others with their TXIDs.
type marks struct {
	at  statefile.Mark // the restored TXID
	tip statefile.Mark // the newest TXID; its checksum is only read to rewind
}

// marksOf reads the checksums of the files at the plan's TXID and, to rewind, at the
// newest one, except the plan's last file: its checksum is known once it is applied, and
// another file may be gone by then.
func marksOf(ctx context.Context, r *replica.Replica, p replica.Plan, rewind bool) (m marks, err error) {
	m.at.TXID, m.tip.TXID = p.TXID(), p.Listed.Newest()
	if m.at.Checksum, err = checksumAt(ctx, r, p, m.at.TXID); err == nil && rewind {
		m.tip.Checksum, err = checksumAt(ctx, r, p, m.tip.TXID)
	}
	return m, err
}

// checksumAt reads the checksum of the file that a writer continues from at a TXID, or
// returns 0 if that is the plan's last file.
func checksumAt(ctx context.Context, r *replica.Replica, p replica.Plan, txid format.TXID) (format.Checksum, error) {
	at, _ := p.Listed.At(txid)
	if at.FileInfo == p.Apply[len(p.Apply)-1] {
		return 0, nil
	}
	t, err := r.Trailer(ctx, at.FileInfo)
	return t.FileChecksum, err
}

// complete adds the checksum known once the plan is applied.
func (m *marks) complete(db *database) {
	if m.at.Checksum == 0 {
		m.at.Checksum = db.checksum
	}
	m.at.Rebase = db.rebased // Litestream then needs a snapshot
	if m.tip.TXID == m.at.TXID {
		m.tip = m.at
	}
}

// recordOf returns the record of the restored database: which file of the replica it
// equals. An application that opens it with the same replica continues from that file,
// unless another writer has. For a rewind, the record says that the replica's tip has all
// pages of the database with other content: the application's next upload is the whole
// database.
func (t *temp) recordOf(store storage.Store, m marks, db *database, rewind bool) (s statefile.Record, err error) {
	id, err := statefile.Identify(t.name)
	if err != nil {
		return s, err
	}
	closed, err := t.closed()
	if err != nil {
		return s, err
	}
	s = statefile.New(store.String(), id)
	s.Acked, s.Restored = &m.at, true
	s.State = &statefile.State{PageSize: db.pageSize, Floor: db.pages, Closed: closed}
	if rewind && m.tip.TXID != m.at.TXID {
		s.Acked, s.Rewind = &m.tip, true
		s.State.Floor = 0 // every page is dirty
	}
	return s, nil
}

// closed returns evidence of whether another program wrote to the database since. The
// file system's clock must have advanced since the last write, or a later write might not
// show.
func (t *temp) closed() (*statefile.Closed, error) {
	for {
		now := time.Now()
		info, err := t.file.Stat()
		if err != nil {
			return nil, err
		}
		c := statefile.ClosedAs(info, now)
		rest := statefile.Tick(info.ModTime()) - now.Sub(info.ModTime())
		if c.Settled || rest > statefile.CoarseTick { // the clock was set back
			return c, nil
		}
		time.Sleep(rest + time.Millisecond)
	}
}
