package vfs

import (
	"log/slog"
	"os"
	"slices"

	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/sidecar"
)

// memory is what this copy of the database remembers of its replica. Without it,
// the replica is a stranger's. It is used by one goroutine at a time, the
// shipper's, but for what its file is told of resets.
type memory struct {
	sidecar.Sidecar
	path    string // of the database
	capture *capture
	log     *slog.Logger
	warned  bool

	file *sidecar.File // guarded by capture.mu
}

// remember reads the sidecar. One that is missing, damaged, another copy's or
// another replica's says nothing.
func remember(path, replica string, id fileID, c *capture) *memory {
	side, err := sidecar.Load(path)
	if err != nil || side.Device != id.device || side.Inode != id.inode || side.Replica != replica {
		side = sidecar.New(replica, id.device, id.inode)
	}
	m := &memory{Sidecar: side, path: path, capture: c, log: c.log, file: sidecar.Open(path)}
	c.journal = func(s sidecar.State) { m.file.Append(s) }
	return m
}

// knows reports whether a file of the replica is one that this copy wrote, or was
// restored from.
func (m *memory) knows(pos shipper.Position) bool {
	mark := markOf(pos)
	return m.Acked != nil && *m.Acked == mark || slices.Contains(m.Intents, mark)
}

func markOf(pos shipper.Position) sidecar.Mark {
	return sidecar.Mark{TXID: pos.TXID, Checksum: pos.Checksum}
}

// acknowledge remembers what the replica has.
func (m *memory) acknowledge(pos shipper.Position) {
	mark := markOf(pos)
	m.Acked = &mark
	m.Intents = slices.DeleteFunc(m.Intents, func(i sidecar.Mark) bool { return i.TXID <= pos.TXID })
}

// mostIntents bounds the sidecar: so many runs in a row were ended during an
// upload of one TXID.
const mostIntents = 100

// intend remembers what is about to be uploaded.
func (m *memory) intend(pos shipper.Position) {
	m.Intents = append(m.Intents, markOf(pos))
	m.Intents = m.Intents[max(0, len(m.Intents)-mostIntents):]
}

// draftTries is how often a draft is made beside an application that resets its
// WAL meanwhile, before it is made to wait.
const draftTries = 3

// save writes the sidecar. Without it, replication goes on, but a crash would make
// the replica a stranger's.
func (m *memory) save(durable bool) {
	for try := 0; ; try++ {
		if try == draftTries {
			durable = false
		}
		done, err := m.trySave(durable, try == draftTries)
		if err != nil {
			m.warn(err)
			return
		}
		if done {
			return
		}
	}
}

func (m *memory) warn(err error) {
	if !m.warned {
		m.warned = true
		m.log.Warn("the sidecar cannot be written: after a crash, replication will not go on by itself", "error", err)
	}
}

// trySave reports false if the WAL was reset meanwhile: the state that was
// written is not the newest.
func (m *memory) trySave(durable, locked bool) (done bool, err error) {
	c := m.capture
	c.mu.Lock()
	resets := c.resets
	state := c.state(nil)
	if !locked {
		c.mu.Unlock()
	}
	m.State = &state
	b, err := m.MarshalBinary()
	var draft *sidecar.Draft
	if err == nil {
		draft, err = m.file.Draft(b, durable)
	}
	if !locked {
		c.mu.Lock()
	}
	defer c.mu.Unlock()
	switch {
	case err != nil:
		return false, err
	case c.resets != resets:
		return false, draft.Discard()
	}
	return true, draft.Publish()
}

// close writes down how the database was left.
func (m *memory) close() {
	if m.Acked == nil && len(m.Intents) == 0 {
		return
	}
	c := m.capture
	c.mu.Lock()
	defer c.mu.Unlock()
	state := c.state(nil)
	if info, err := os.Stat(m.path); err == nil && c.epoch.IsZero() {
		state.Closed = sidecar.ClosedAs(info)
	}
	m.State = &state
	if err := m.Save(m.path); err != nil {
		m.warn(err)
	}
	m.file.Close()
}
