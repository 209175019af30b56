package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/statefile"
)

// A machine has a copy of the database.
type machine struct {
	path     string
	commits  []commit // reported by its processes
	tampered bool     // its state file may have been changed
	stale    []byte   // an earlier content of the state file
	keeps    bool     // a replaced database may be in its directory
}

func newMachine(t *testing.T) *machine {
	return &machine{path: filepath.Join(t.TempDir(), "bank.db")}
}

// Limits of replication's disk usage, in bytes.
const (
	mostState = 4 << 20
	mostWAL   = 128 << 20
)

// check fails unless the database is intact and has every commit, and its other files are
// bounded: invariants 5 and 6. It returns the journal.
func (m *machine) check(t *testing.T) (journal []int64) {
	t.Helper()
	if size := m.size(statefile.Suffix); size > mostState {
		t.Errorf("the state file has %d bytes", size)
	}
	if size := m.size("-wal"); size > mostWAL {
		t.Errorf("the WAL has %d bytes", size)
	}
	m.checkNames(t)
	copied := filepath.Join(t.TempDir(), "copy.db")
	for _, suffix := range []string{"", "-wal", "-journal"} {
		content, err := os.ReadFile(m.path + suffix)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(copied+suffix, content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	defer os.Remove(copied)
	journal = readBank(t, "file:"+copied, "the database", true)
	for _, c := range m.commits {
		if len(journal) < c.n || journal[c.n-1] != c.id {
			t.Errorf("commit %d is not in the database, which ends at commit %d", c.n, len(journal))
		}
	}
	return journal
}

func (m *machine) size(suffix string) int64 {
	info, err := os.Stat(m.path + suffix)
	if err != nil {
		return 0
	}
	return info.Size()
}

// checkNames finds forgotten files.
func (m *machine) checkNames(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(m.path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		suffix, ok := bytes.CutPrefix([]byte(e.Name()), []byte(filepath.Base(m.path)))
		known := []string{"", "-wal", "-shm", "-journal", statefile.Suffix, statefile.SuffixRestore}
		if m.keeps {
			known = append(known, statefile.SuffixBehind)
		}
		if !ok || !slices.Contains(known, string(suffix)) {
			t.Errorf("%s is left beside the database", e.Name())
		}
	}
}

// tamper changes the state file, or replaces the database by a copy of itself.
func (m *machine) tamper(t *testing.T, rng *rand.Rand) (what string) {
	t.Helper()
	name := m.path + statefile.Suffix
	content, err := os.ReadFile(name)
	if err != nil || len(content) == 0 {
		return ""
	}
	switch rng.IntN(6) {
	case 0:
		what, err = "deleted", os.Remove(name)
	case 1:
		what, err = "truncated", os.Truncate(name, int64(rng.IntN(len(content))))
	case 2:
		at := rng.IntN(len(content))
		for ; at > 0 && content[at] == 0; at-- { // much of the content is unused
		}
		content[at] ^= 1 << rng.IntN(8)
		what, err = "flipped", os.WriteFile(name, content, 0o600)
	case 3:
		if m.stale == nil {
			return ""
		}
		what, err = "stale", os.WriteFile(name, m.stale, 0o600)
	case 4:
		// As if the machine had died while appending to the file.
		lines := bytes.SplitAfter(content, []byte("\n"))
		content = bytes.Join(lines[:1+rng.IntN(len(lines))], nil)
		what, err = "cut after a line", os.WriteFile(name, content, 0o600)
	default:
		// The same content in another file, as of a copy.
		var database []byte
		if database, err = os.ReadFile(m.path); err == nil {
			err = errors.Join(os.WriteFile(m.path+".copy", database, 0o600), os.Rename(m.path+".copy", m.path), os.RemoveAll(m.path+"-shm"))
		}
		what = "another copy's"
	}
	if err != nil {
		t.Fatal(err)
	}
	m.tampered = true
	return what
}

// age saves the state file, to be put back later.
func (m *machine) age() {
	if content, err := os.ReadFile(m.path + statefile.Suffix); err == nil {
		m.stale = content
	}
}

// losePower drops an unsynced end of the WAL, but no frame of a cut, because a cut is
// synced before it is uploaded. It reports false if the unsynced end is unknown.
func (m *machine) losePower(t *testing.T, rng *rand.Rand) bool {
	t.Helper()
	side, err := statefile.Load(m.path)
	if err != nil || side.State == nil || m.tampered {
		return false
	}
	wal, err := os.OpenFile(m.path+"-wal", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer wal.Close()
	header, last, _, err := format.LastCommit(wal)
	synced := max(side.State.Scanned, m.checkpointed())
	for _, intent := range side.Intents { // an upload may have begun, after a sync
		if intent.Epoch == header.Salt {
			synced = max(synced, intent.End.Number)
		}
	}
	if err != nil || header.Salt != side.State.Epoch || last <= synced {
		return false
	}
	keep := synced + rng.Uint32N(last-synced)
	size := format.FrameOffset(header.PageSize, keep+1)
	if keep > 0 {
		size += int64(rng.IntN(int(header.PageSize))) // a part of the next frame
	}
	if err := errors.Join(wal.Truncate(size), os.RemoveAll(m.path+"-shm")); err != nil {
		t.Fatal(err)
	}
	// Lost commits are forgotten, except those confirmed in the replica.
	commits := m.commits
	m.commits = nil
	m.commits = kept(commits, len(m.check(t)))
	return true
}

// checkpointed returns how many frames a checkpoint may have copied. A checkpoint syncs
// them first.
//
// https://sqlite.org/walformat.html#the_wal_index_file_format
func (m *machine) checkpointed() uint32 {
	shm, err := os.ReadFile(m.path + "-shm")
	if err != nil || len(shm) < 132 {
		return math.MaxUint32
	}
	return binary.NativeEndian.Uint32(shm[128:])
}

// kept returns the commits up to number n.
func kept(commits []commit, n int) []commit {
	return slices.DeleteFunc(commits, func(c commit) bool { return c.n > n })
}
