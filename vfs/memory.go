package vfs

import (
	"errors"
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

// remember reads the sidecar of a database. One that is missing, damaged, another
// copy's or another replica's says nothing, and neither does one whose database was
// deleted and begun anew, which may have its inode.
func remember(path, replica string, c *capture) (*memory, error) {
	m := &memory{path: path, capture: c, log: c.log, file: sidecar.Open(path)}
	id, err := sidecar.Identify(path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	side, err := sidecar.Load(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		c.log.Warn("the sidecar cannot be read, and says nothing", "error", err)
	}
	if err != nil || side.File != id || side.Replica != replica || info.Size() == 0 {
		side = sidecar.New(replica, id)
	}
	m.Sidecar, c.acked, c.intents = side, side.Acked, side.Intents
	c.journal = func(s sidecar.State, all func() sidecar.State) {
		// What cannot be written is not matched by the WAL at the next open.
		m.file.Append(s, all)
	}
	return m, nil
}

// find returns what is known of a file of the replica, nil if this copy neither
// wrote it nor was restored from it.
func (m *memory) find(pos shipper.Position) *sidecar.Mark {
	is := func(mark sidecar.Mark) bool { return mark.TXID == pos.TXID && mark.Checksum == pos.Checksum }
	if m.Acked != nil && is(*m.Acked) {
		return m.Acked
	}
	if i := slices.IndexFunc(m.Intents, is); i >= 0 {
		return &m.Intents[i]
	}
	return nil
}

// acknowledge remembers what the replica has. The sidecar has it with the state
// that capture settles on.
func (m *memory) acknowledge(pos shipper.Position) *sidecar.Mark {
	mark := &sidecar.Mark{TXID: pos.TXID, Checksum: pos.Checksum}
	m.Acked = mark
	m.Intents = sidecar.After(m.Intents, *mark)
	return mark
}

// forget remembers that the replica has nothing.
func (m *memory) forget() {
	m.capture.mu.Lock()
	defer m.capture.mu.Unlock()
	m.Acked, m.Intents, m.capture.acked, m.capture.intents = nil, nil, nil, nil
	m.file.Close() // its first line says more
}

// decided forgets that the disk has lost commits.
func (m *memory) decided() {
	m.capture.mu.Lock()
	defer m.capture.mu.Unlock()
	if m.DiskLost {
		m.DiskLost = false
		m.file.Close() // its first line says otherwise: the next intent replaces it
	}
}

// mostIntents bounds the sidecar: so many runs in a row were ended during an
// upload of one TXID.
const mostIntents = 100

// intend remembers durably what is about to be uploaded. A state that is appended
// takes half the time of a file that is replaced.
func (m *memory) intend(pos shipper.Position, rebase bool) {
	m.Intents = append(m.Intents, sidecar.Mark{TXID: pos.TXID, Checksum: pos.Checksum, Rebase: rebase})
	m.Intents = m.Intents[max(0, len(m.Intents)-mostIntents):]
	c := m.capture
	c.mu.Lock()
	c.intents = slices.Clone(m.Intents)
	sync, err := m.file.AppendWhole(c.state())
	if err == nil {
		c.fresh.Clear()
	}
	c.mu.Unlock()
	if err == nil {
		if err = sync(); err != nil {
			c.mu.Lock()
			m.file.Close() // a later sync may succeed without this line
			c.mu.Unlock()
		}
	}
	if err != nil {
		m.save()
	}
}

// draftTries is how often a draft is made beside an application that resets its
// WAL meanwhile, before it is made to wait.
const draftTries = 3

// save writes the sidecar durably. Without it, replication goes on, but a crash
// would make the replica a stranger's.
func (m *memory) save() {
	for try := range draftTries + 1 {
		done, err := m.trySave(try == draftTries)
		if err != nil {
			m.warn(err)
			return
		}
		if done {
			break
		}
	}
	if err := m.file.SyncName(); err != nil {
		m.warn(err)
	}
}

func (m *memory) warn(err error) {
	if !m.warned {
		m.warned = true
		m.log.Warn("the sidecar cannot be written: after a crash, the replica may have to be downloaded and compared before replication goes on", "error", err)
	}
}

// trySave reports false if the journal was told of a state meanwhile, as at each
// reset of the WAL: the one that was written is not the newest.
func (m *memory) trySave(locked bool) (done bool, err error) {
	c := m.capture
	c.mu.Lock()
	told := c.told
	state := c.state()
	if !locked {
		c.mu.Unlock()
	}
	m.State = &state
	b, err := m.MarshalBinary()
	var draft *sidecar.Draft
	if err == nil {
		draft, err = m.file.Draft(b, true)
	}
	if !locked {
		c.mu.Lock()
	}
	defer c.mu.Unlock()
	switch {
	case err != nil:
		return false, err
	case c.told != told:
		draft.Discard()
		return false, nil
	}
	return true, draft.Publish()
}

// resume has capture go on from the state. That the disk has lost commits is
// remembered: the application's next ones make it hard to tell.
func (m *memory) resume(f found) error {
	if m.DiskLost {
		return errDiskLost
	}
	err := m.capture.resume(m.State, m.path, f)
	switch {
	case err == nil:
		if err := m.file.Continue(); err != nil {
			m.warn(err)
		}
	case errors.Is(err, errDiskLost):
		m.DiskLost = true
		m.save()
	}
	return err
}

// close writes down how the database was left.
func (m *memory) close() {
	if m.Acked != nil || len(m.Intents) > 0 {
		m.save()
	}
	m.capture.mu.Lock()
	defer m.capture.mu.Unlock()
	m.file.Close()
}
