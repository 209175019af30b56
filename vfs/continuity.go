package vfs

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/sidecar"
)

// memory is what this copy of the database remembers of its replica. Without it,
// the replica is a stranger's.
type memory struct {
	path string // of the database

	mu sync.Mutex
	sidecar.Sidecar
}

// remember reads the sidecar. One that is missing, damaged, another copy's or
// another replica's says nothing.
func remember(path, replica string, id fileID) *memory {
	side, err := sidecar.Load(path)
	if err != nil || side.Device != id.device || side.Inode != id.inode || side.Replica != replica {
		side = sidecar.New(replica, id.device, id.inode)
	}
	return &memory{path: path, Sidecar: side}
}

// knows reports whether a file of the replica is one that this copy wrote, or was
// restored from.
func (m *memory) knows(pos shipper.Position) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	mark := markOf(pos)
	return m.Acked != nil && *m.Acked == mark || slices.Contains(m.Intents, mark)
}

func markOf(pos shipper.Position) sidecar.Mark {
	return sidecar.Mark{TXID: pos.TXID, Checksum: pos.Checksum}
}

// acknowledge remembers what the replica has. It is written with the next intent:
// until then, the intent that is written says the same.
func (m *memory) acknowledge(pos shipper.Position) {
	m.mu.Lock()
	defer m.mu.Unlock()
	mark := markOf(pos)
	m.Acked = &mark
	m.Intents = slices.DeleteFunc(m.Intents, func(i sidecar.Mark) bool { return i.TXID <= pos.TXID })
}

// mostIntents bounds the sidecar: so many runs in a row were ended during an
// upload of one TXID.
const mostIntents = 100

// intend writes down what is about to be uploaded.
func (m *memory) intend(pos shipper.Position) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Intents = append(m.Intents, markOf(pos))
	m.Intents = m.Intents[max(0, len(m.Intents)-mostIntents):]
	return m.Save(m.path)
}

// Last implements [shipper.Source].
func (d *database) Last() format.TXID {
	d.memory.mu.Lock()
	defer d.memory.mu.Unlock()
	if d.memory.Acked == nil {
		return 0
	}
	return d.memory.Acked.TXID
}

// Recognize implements [shipper.Source].
func (d *database) Recognize(_ context.Context, tip *shipper.Tip) error {
	switch {
	case tip == nil:
		d.capture.replicaNeedsAll(0, "the replica is empty")
	case d.Intended(shipper.Position{TXID: tip.MaxTXID, Checksum: tip.Checksum}):
		d.memory.acknowledge(shipper.Position{TXID: tip.MaxTXID, Checksum: tip.Checksum})
		d.capture.replicaNeedsAll(tip.Header.PageSize, "continuity with the last run is not proven")
	case d.cfg.overwrite:
		d.capture.replicaNeedsAll(tip.Header.PageSize, "diverged=overwrite")
	default:
		return fmt.Errorf("%w: its newest file is TXID %s of %s, which this copy of the database did not write; "+
			"restore the replica to go on from it, use another replica URL, or set diverged=overwrite to go on with this database's content",
			shipper.ErrDiverged, tip.MaxTXID, tip.Time.UTC().Format(time.RFC3339))
	}
	return nil
}

// Intend implements [shipper.Source].
func (d *database) Intend(pos shipper.Position) error { return d.memory.intend(pos) }

// Intended implements [shipper.Source].
func (d *database) Intended(pos shipper.Position) bool { return d.memory.knows(pos) }
