package main

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

var (
	rollbackRounds = flag.Int("rollback.rounds", 4, "rounds of TestRolledBack")
	rollbackSeed   = flag.Uint64("rollback.seed", 0, "what TestRolledBack decides by; 0 for another one each time")
)

// TestRolledBack has two machines with one replica, of which either runs the application,
// or both do. It kills their processes, rolls the files of a machine back to a snapshot
// of its volume, and restores a machine to take over. After each step it checks:
//
//	Prefix      every TXID is the database at one commit, a later TXID at a later commit:
//	            no machine that was rolled back writes its history over the replica's
//	Durable     confirmed commits stay in the replica for good
//	Lossless    restore=if-behind replaces nothing that the replica lacks
//	Owner       the machine that wrote the newest TXID continues
//	Converge    once a machine has the replica, the two are equal byte by byte
//
// A flag sets how long it runs: go test ./cmd/walvfs -run TestRolledBack -rollback.rounds 500 -timeout 0
func TestRolledBack(t *testing.T) {
	seed := cmp.Or(*rollbackSeed, rand.Uint64())
	t.Logf("seed %d", seed)
	defer func() {
		if t.Failed() {
			t.Logf("again: go test ./cmd/walvfs -run '^TestRolledBack$' -v -timeout 0 -rollback.rounds %d -rollback.seed %d", *rollbackRounds, seed)
		}
	}()
	rng := rand.New(rand.NewPCG(seed, 0))
	var total pairCounts
	for round := 0; round < *rollbackRounds && !t.Failed(); round += roundsPerBucket {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			p := newPair(t, rand.New(rand.NewPCG(rng.Uint64(), 0)))
			for i := round; i < min(round+roundsPerBucket, *rollbackRounds) && !t.Failed(); i++ {
				p.round(t, i)
			}
			total.add(p.counts, p.bucket.tip)
		})
	}
	t.Logf("%+v", total)
}

// pairCounts count the events.
type pairCounts struct {
	Runs, Killed, Halted, RolledBack, Replaced, Failovers int
	TXIDs                                                 format.TXID
}

func (c *pairCounts) add(more pairCounts, txids format.TXID) {
	c.Runs += more.Runs
	c.Killed += more.Killed
	c.Halted += more.Halted
	c.RolledBack += more.RolledBack
	c.Replaced += more.Replaced
	c.Failovers += more.Failovers
	c.TXIDs += txids
}

// A pair is two machines with one replica. The campaign makes choices, and takes notes.
type pair struct {
	*campaign
	members [2]*member
	counts  pairCounts
}

// A member is a machine with snapshots of its volume.
type member struct {
	*machine
	snapshots []snapshot
	rolled    bool // back, and the replica lacks what followed
}

func newPair(t *testing.T, rng *rand.Rand) *pair {
	replica := storagetest.File(t)
	return &pair{
		campaign: &campaign{
			rng:        rng,
			proxy:      &storagetest.Toxiproxy{Replica: replica}, // without faults
			bucket:     newBucket(t, replica, rng),
			pageSize:   512 << rng.IntN(8),
			autoVacuum: rng.IntN(3),
		},
		members: [2]*member{newMember(t), newMember(t)},
	}
}

func newMember(t *testing.T) *member {
	m := &member{machine: newMachine(t)}
	m.keeps = true
	return m
}

// round runs several steps, after which a machine has the replica.
func (p *pair) round(t *testing.T, number int) {
	t.Helper()
	p.log = nil
	begun := time.Now()
	for range 1 + p.rng.IntN(4) {
		if t.Failed() {
			break
		}
		i := p.rng.IntN(2)
		m := p.members[i]
		switch n := p.rng.IntN(100); {
		case n < 45:
			p.run(t, i)
		case n < 65:
			p.run(t, 0, 1)
		case n < 80:
			p.rollBack(t, i, m)
		case n < 90:
			p.failOver(t, i, m)
		case m.size(statefile.Suffix) > 0:
			p.note("%d loses its state file", i)
			os.Remove(m.path + statefile.Suffix)
		}
		p.bucket.check(t)
	}
	if !t.Failed() {
		p.converge(t, p.rng.IntN(2))
	}
	t.Logf("round %d, %s, up to commit %d and TXID %s: %s", number, time.Since(begun).Round(time.Millisecond),
		len(p.bucket.journal), p.bucket.tip, strings.Join(p.log, "; "))
}

// run runs the application on one machine, or on both at once.
func (p *pair) run(t *testing.T, which ...int) {
	t.Helper()
	type started struct {
		i      int
		m      *member
		before view
		owns   bool
		p      *process
	}
	var all []started
	for _, i := range which {
		m := p.members[i]
		if m.size("") > 0 && p.chance(50) {
			m.snapshots = append(m.snapshots, m.snapshot(t))
		}
		s := started{i: i, m: m, before: m.look(t), owns: len(which) == 1 && p.owns(t, m)}
		s.p = p.start(t, m.machine, p.pairOrder(m, work), p.killing())
		p.counts.Runs++
		all = append(all, s)
	}
	for _, s := range all {
		p.finish(t, s.m.machine, s.p)
	}
	p.bucket.check(t)
	for _, s := range all {
		p.note("%d: %d commits, %d drained, %s, halted %t", s.i, len(s.p.commits), len(s.p.drained), s.p.kill, s.p.halted != "")
		if s.p.killed {
			p.counts.Killed++
		}
		if s.p.halted != "" {
			p.counts.Halted++
		}
		p.compareRun(t, s.m, s.before)
		if s.owns && s.p.halted != "" {
			t.Errorf("machine %d wrote the newest TXID, and halts: %s\n%s", s.i, s.p.halted, &s.p.log)
		}
	}
}

// pairOrder is [campaign.order], with parameters for what happens before an open.
func (p *pair) pairOrder(m *member, what task) order {
	o := p.order(m.machine, what)
	pick := func(choices ...string) string { return choices[p.rng.IntN(len(choices))] }
	o.URI += "&restore=" + pick("never", "if-missing", "if-behind", "if-behind") + "&adopt=" + pick("moved", "moved", "equal", "never")
	return o
}

// A view is the state of a machine's database.
type view struct {
	file    statefile.FileID // zero if it does not exist
	journal []int64
}

func (m *member) look(t *testing.T) view {
	t.Helper()
	id, err := statefile.Identify(m.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return view{id, m.journal(t)}
}

// compareRun: a database, replaced meanwhile or not, has all its earlier commits.
func (p *pair) compareRun(t *testing.T, m *member, before view) {
	t.Helper()
	now := m.look(t)
	if now.file != before.file && len(before.journal) > 0 {
		p.counts.Replaced++
		p.note("replaced")
		m.rolled = false
	}
	if !hasPrefix(now.journal, before.journal) {
		t.Errorf("the database had commit %d, and after a run or its replacement it does not go on from that, at commit %d", len(before.journal), len(now.journal))
	}
	m.check(t)
}

// owns reports whether a machine wrote the newest TXID, and nothing has happened to it
// since.
func (p *pair) owns(t *testing.T, m *member) bool {
	t.Helper()
	side, err := statefile.Load(m.path)
	if err != nil || m.rolled || p.bucket.tip == 0 {
		return false
	}
	id, err := statefile.Identify(m.path)
	return err == nil && side.File == id && side.NodeID == p.bucket.tipNode(t) && !side.DiskLost
}

// tipNode returns the node that wrote the newest TXID.
func (b *bucket) tipNode(t *testing.T) uint64 {
	t.Helper()
	r, _, err := b.store.Open(t.Context(), b.store.Layout().Key(format.LevelRaw, b.tip, b.tip), 0, format.LTXHeaderSize)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	head := make([]byte, format.LTXHeaderSize)
	if _, err := r.Read(head); err != nil {
		t.Fatal(err)
	}
	h, err := format.ParseLTXHeader(head)
	if err != nil {
		t.Fatal(err)
	}
	return h.NodeID
}

// journal returns the journal of a machine's database, nil if it does not exist.
func (m *member) journal(t *testing.T) []int64 {
	t.Helper()
	if m.size("") == 0 {
		return nil
	}
	told := m.commits
	m.commits = nil
	defer func() { m.commits = told }()
	return m.check(t)
}

// rollBack rolls a machine's volume back.
func (p *pair) rollBack(t *testing.T, i int, m *member) {
	t.Helper()
	if len(m.snapshots) == 0 {
		return
	}
	n := p.rng.IntN(len(m.snapshots))
	m.snapshots[n].restore(t, m.path, p.chance(80))
	m.snapshots = m.snapshots[:n+1]
	p.counts.RolledBack++
	m.commits = nil
	m.rolled = true
	p.note("%d is rolled back to commit %d", i, len(m.journal(t)))
}

// failOver restores the replica to a machine.
func (p *pair) failOver(t *testing.T, i int, m *member) {
	t.Helper()
	if p.bucket.tip == 0 {
		return
	}
	if _, err := restore.Restore(t.Context(), p.bucket.store, m.path, restore.Options{Force: true}); err != nil {
		t.Fatal(err)
	}
	p.counts.Failovers++
	m.commits, m.rolled = nil, false
	p.note("%d is restored", i)
}

// converge makes a machine get the replica, which takes a restore if the machine is
// behind or has another history.
func (p *pair) converge(t *testing.T, i int) {
	t.Helper()
	m := p.members[i]
	before, owns := m.look(t), p.owns(t, m)
	ok, halted := p.trySettle(t, m.machine, "&restore=if-behind", p.chance(30))
	p.bucket.check(t)
	p.compareRun(t, m, before)
	if !ok {
		if owns {
			t.Errorf("machine %d wrote the newest TXID, and halts: %s", i, halted)
		}
		p.failOver(t, i, m)
		if ok, halted = p.trySettle(t, m.machine, "&restore=never", p.chance(30)); !ok {
			t.Errorf("machine %d was restored, and halts: %s", i, halted)
			return
		}
		p.bucket.check(t)
	}
	m.rolled = false
	p.requireEqual(t, m)
	p.note("%d settles", i)
}

func (p *pair) requireEqual(t *testing.T, m *member) {
	t.Helper()
	if live := m.check(t); len(live) != len(p.bucket.journal) {
		t.Errorf("the database is at commit %d, the replica at %d", len(live), len(p.bucket.journal))
	}
	if m.size("-wal") > 0 {
		t.Error("the WAL is not gone after the last close")
	} else if digestOf(t, m.path) != digestOf(t, p.bucket.mirror) {
		t.Error("the replica differs from the database")
	}
	path := filepath.Join(t.TempDir(), "restored.db")
	p.bucket.restore(t, path, 1+format.TXID(p.rng.Uint64N(uint64(p.bucket.tip))))
	readBank(t, (&url.URL{Scheme: "file", Opaque: path}).String(), "a TXID", true)
}

// A snapshot has a machine's files. It knows the database's inode, as the snapshot of a
// volume does.
type snapshot struct {
	inode string // another name of the database file
	files map[string]savedFile
}

type savedFile struct {
	content []byte
	time    time.Time
}

var snapshotSuffixes = []string{"", "-wal", statefile.Suffix}

func (m *member) snapshot(t *testing.T) snapshot {
	t.Helper()
	s := snapshot{filepath.Join(t.TempDir(), "inode"), map[string]savedFile{}}
	if err := os.Link(m.path, s.inode); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range snapshotSuffixes {
		content, err := os.ReadFile(m.path + suffix)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		info, statErr := os.Stat(m.path + suffix)
		if err = errors.Join(err, statErr); err != nil {
			t.Fatal(err)
		}
		s.files[suffix] = savedFile{bytes.Clone(content), info.ModTime()}
	}
	return s
}

// restore puts all files back, with their times if it is a volume's snapshot, without
// them if an administrator copies the files.
func (s snapshot) restore(t *testing.T, path string, times bool) {
	t.Helper()
	for _, suffix := range append(snapshotSuffixes, "-shm", statefile.SuffixBehind) {
		if err := os.RemoveAll(path + suffix); err != nil {
			t.Fatal(err)
		}
	}
	err := os.Link(s.inode, path)
	for suffix, file := range s.files {
		err = errors.Join(err, os.WriteFile(path+suffix, file.content, 0o600))
		if times {
			err = errors.Join(err, os.Chtimes(path+suffix, time.Time{}, file.time))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}
