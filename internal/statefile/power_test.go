package statefile

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/statefile/diskhook"
)

// A powerDisk loses parts of the writes that were not synced.
type powerDisk struct {
	diskhook.Disk
	durable []byte
	pending []powerWrite
	look    func(*powerDisk) // before each operation
}

type powerWrite struct {
	off  int64
	data []byte
}

func (d *powerDisk) WriteAt(p []byte, off int64) (int, error) {
	d.pending = append(d.pending, powerWrite{off, bytes.Clone(p)})
	d.look(d)
	return d.Disk.WriteAt(p, off)
}

func (d *powerDisk) Sync() error {
	d.look(d)
	for _, w := range d.pending {
		d.durable = w.apply(d.durable, func() bool { return true })
	}
	d.pending = nil
	d.look(d)
	return nil
}

// apply writes the kept parts of 512 bytes.
func (w powerWrite) apply(b []byte, keep func() bool) []byte {
	for at := w.off; at < w.off+int64(len(w.data)); {
		next := min((at/512+1)*512, w.off+int64(len(w.data)))
		if keep() {
			if int64(len(b)) < next {
				b = append(b, make([]byte, next-int64(len(b)))...)
			}
			copy(b[at:next], w.data[at-w.off:next-w.off])
		}
		at = next
	}
	return b
}

// lose returns the content after a loss of power.
func (d *powerDisk) lose(rng *rand.Rand) []byte {
	b := bytes.Clone(d.durable)
	whole := rng.IntN(3) // of three losses, one keeps or loses each write as a whole
	for _, w := range d.pending {
		all := rng.IntN(2) == 0
		b = w.apply(b, func() bool { return whole == 0 && all || whole != 0 && rng.IntN(2) == 0 })
	}
	return b
}

// A powerModel holds the allowed contents of a state file after a loss of power.
type powerModel struct {
	durable int             // lowest allowed TXID of the record
	newest  int             // TXID of the newest drafted record
	states  map[int][]State // states that may be in force, by the record
	synced  map[int]int     // index of the first state that may be in force if no later state is durable
	intents []Mark          // of the newest record
	kept    []Mark          // the durable ones of these
}

// TestPowerLoss: after a power failure at any moment, with any parts of the unsynced
// writes lost, the file has a record that is not older than the newest durable record.
// Its state is one of the states since its last durable state, or unknown.
func TestPowerLoss(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { testPowerLoss(t, rand.New(rand.NewPCG(seed, 0))) })
	}
}

func testPowerLoss(t *testing.T, rng *rand.Rand) {
	path := filepath.Join(t.TempDir(), "app.db")
	m := &powerModel{states: map[int][]State{}, synced: map[int]int{}}
	torn := 0
	look := func(d *powerDisk) {
		for range 4 {
			if m.check(t, d.lose(rng)) {
				torn++
			}
		}
	}
	wrapStateFile(t, func(_ string, d diskhook.Disk) diskhook.Disk { return &powerDisk{Disk: d, look: look} })
	f := Open(path)
	defer f.Close()
	for i := 1; i < 50 && !t.Failed(); i++ {
		state := State{Intents: m.intents, Floor: uint32(i), Dirty: make([]byte, rng.IntN(20<<10)+rng.IntN(2)*rng.IntN(200<<10))}
		switch record := m.newest; {
		case rng.IntN(8) == 0 || record == 0:
			m.newest = i
			state.Intents = nil
			m.states[i], m.intents, m.kept = []State{state}, nil, nil
			r := forFile(FileID{}, i)
			r.State = &state
			draft, err := f.Draft(r)
			if err == nil {
				err = draft.Publish()
			}
			if sync := rng.IntN(3) > 0; err == nil && sync {
				if err = f.Sync(); err == nil {
					m.durable = i
				}
			}
			if err != nil {
				t.Fatal(err)
			}
		case rng.IntN(4) == 0:
			m.intents = append(slices.Clone(m.intents), Mark{TXID: format.TXID(i)})
			state.Intents = m.intents
			m.states[record] = append(m.states[record], state)
			if sync, err := f.AppendWhole(state); err == nil {
				if err := sync(); err != nil {
					t.Fatal(err)
				}
				m.durable = record
				m.synced[record], m.kept = len(m.states[record])-1, m.intents
			}
		default:
			m.states[record] = append(m.states[record], state)
			if err := f.Append(state, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d states were torn", torn)
}

// check reports whether the state is unknown.
func (m *powerModel) check(t *testing.T, image []byte) (torn bool) {
	t.Helper()
	s, _ := readSlots(image, func([]byte) bool { return true })
	if s == nil {
		if m.durable != 0 {
			t.Error("no record is left")
		}
		return false
	}
	r, err := decode(s)
	if err != nil || r.Acked.TXID < format.TXID(m.durable) || r.Acked.TXID > format.TXID(m.newest) {
		t.Errorf("record %+v, %v, want %d to %d", r.Acked, err, m.durable, m.newest)
		return false
	}
	record := int(r.Acked.TXID)
	if record == m.newest {
		for _, mark := range m.kept {
			if !slices.Contains(r.Intents, mark) {
				t.Errorf("record %d lacks intent %v, which is durable", record, mark)
			}
		}
	}
	if r.State == nil {
		return true
	}
	may := m.states[record][m.synced[record]:]
	if !slices.ContainsFunc(may, func(s State) bool { return s.Floor == r.State.Floor && len(s.Dirty) == len(r.State.Dirty) }) {
		t.Errorf("record %d has state %d, want %d to %d", record, r.State.Floor, may[0].Floor, may[len(may)-1].Floor)
	}
	return false
}
