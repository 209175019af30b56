package vfs_test

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/replica"
)

// An expectation says what replication does after a database is opened.
type expectation int

const (
	either expectation = iota // it may continue or halt, depending on what it can prove
	goesOn
	halts
)

// A loss says whether the disk has lost commits.
type loss int

const (
	nothingLost loss = iota
	lostUnseen       // the proof of the loss may be lost, too
	lost             // and the state file proves it
)

// asked holds a user's settings.
type asked struct {
	adopt, restore string
	overwrite      bool
}

func (a asked) params() string {
	p := "&adopt=" + a.adopt + "&restore=" + a.restore
	if a.overwrite {
		p += "&diverged=overwrite"
	}
	return p
}

// facts are the truth about a site, whatever walvfs finds out of it.
type facts struct {
	id      statefile.FileID
	empty   bool // the replica has no files
	equal   bool // the database is the replica's newest state
	later   bool // or that state and later commits
	own     bool // the state file is this file's
	marked  bool // and names the newest TXID
	rewound bool // the database was restored to continue from an older state
	copied  bool // the state file is another file's
	moved   bool // which no longer exists
	wrote   bool // this file wrote the newest TXID
	atMark  bool // the database equals the state file's TXID
	lost    loss
	held    map[digest]bool // the contents of all TXIDs
}

// find collects the facts of a site before it is opened.
func (s *site) find(rt *rapid.T) (f facts) {
	rt.Helper()
	f.held = map[digest]bool{}
	states := s.replica.States
	for _, state := range states {
		f.held[state] = true
	}
	if f.empty = len(states) == 0; f.empty || s.content == (digest{}) {
		return f
	}
	tip := states[len(states)-1]
	f.equal, f.later = s.content == tip, s.descends(tip, s.content)
	var err error
	if f.id, err = statefile.Identify(s.path); err != nil {
		rt.Fatal(err)
	}
	pos, node := s.tip(rt)
	f.wrote = statefile.New("", f.id).NodeID == node
	record, err := statefile.Load(s.path)
	if err != nil || record.Replica != s.store.String() {
		return f
	}
	f.own, f.copied = record.File == f.id, record.File != f.id
	if there, err := statefile.Identify(record.Path); f.copied {
		f.moved = errors.Is(err, fs.ErrNotExist) || err == nil && there != record.File
	}
	marks := record.Intents
	if record.Acked != nil {
		marks = append(marks, *record.Acked)
		f.atMark = s.content == states[record.Acked.TXID-1]
	}
	f.marked = slices.ContainsFunc(marks, func(m statefile.Mark) bool {
		return shipper.Position{TXID: m.TXID, Checksum: m.Checksum} == pos
	})
	f.rewound, f.lost = record.Rewind, s.lost
	return f
}

// tip reads the newest file's position and the node that wrote it.
func (s *site) tip(rt *rapid.T) (shipper.Position, uint64) {
	rt.Helper()
	if s.outage {
		s.store.SetBefore(nil)
		defer down(s.store)
	}
	tip, err := replica.New(s.store, replica.Options{}).Tip(rt.Context(), format.TXID(len(s.replica.States)))
	if err != nil {
		rt.Fatal(err)
	}
	return shipper.Position{TXID: tip.MaxTXID, Checksum: tip.Checksum}, tip.Header.NodeID
}

// judge is the table of databases that may continue, by the facts instead of by walvfs's
// evidence.
func (f facts) judge(a asked) expectation {
	switch {
	case f.empty, a.overwrite:
		return goesOn
	case f.own && f.marked:
		switch {
		case f.lost == lost && !f.later:
			return halts
		case f.lost == lostUnseen:
			return either
		case f.later, f.rewound:
			return goesOn
		}
		return either // an older state of the file, which proves nothing
	case f.wrote && !f.copied, // the state file no longer says so
		f.moved && f.marked && a.adopt != "never",
		a.adopt == "equal":
		switch {
		case f.equal:
			return goesOn
		case f.later:
			return either // if the commits are in the WAL
		}
	}
	return halts
}

// mustReplace reports whether a database is behind, and has no commits of its own.
func (f facts) mustReplace(a asked) bool {
	return a.restore == "if-behind" && f.own && !f.marked && f.atMark && !f.rewound
}

// A volume is a snapshot of a site's files.
type volume struct {
	inode   string // another name of the database file
	files   map[string]savedFile
	content digest
}

type savedFile struct {
	content []byte
	time    time.Time
}

// GoString returns the text by which rapid shows a snapshot.
func (v volume) GoString() string { return v.inode }

var siteSuffixes = []string{"", "-wal", statefile.Suffix}

// read takes a snapshot. A file may be torn by a concurrent write, as in a crash.
func (s *site) read(rt *rapid.T) (files map[string]savedFile) {
	rt.Helper()
	files = map[string]savedFile{}
	for _, suffix := range siteSuffixes {
		content, err := os.ReadFile(s.path + suffix)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		info, statErr := os.Stat(s.path + suffix)
		if err = errors.Join(err, statErr); err != nil {
			rt.Fatal(err)
		}
		files[suffix] = savedFile{content, info.ModTime()}
	}
	return files
}

func (s *site) write(rt *rapid.T, files map[string]savedFile, times bool) {
	rt.Helper()
	for suffix, file := range files {
		err := os.WriteFile(s.path+suffix, file.content, 0o600)
		if err == nil && times {
			err = os.Chtimes(s.path+suffix, file.time, file.time)
		}
		if err != nil {
			rt.Fatal(err)
		}
	}
}

func (s *site) clear(rt *rapid.T) {
	rt.Helper()
	for _, suffix := range append(siteSuffixes, "-shm", statefile.SuffixBehind) {
		if err := os.RemoveAll(s.path + suffix); err != nil {
			rt.Fatal(err)
		}
	}
	s.content, s.lost = digest{}, nothingLost
}

func (s *site) snapshot(rt *rapid.T) {
	s.isThere(rt)
	v := volume{s.path + ".inode" + string(rune('0'+len(s.saves))), s.read(rt), s.content}
	if err := os.Link(s.path, v.inode); err != nil {
		rt.Fatal(err)
	}
	s.saves = append(s.saves, v)
}

// rollBack restores a snapshot: that of a volume, or only the database's files.
func (s *site) rollBack(rt *rapid.T) {
	s.isClosed(rt)
	if len(s.saves) == 0 {
		rt.Skip("no snapshot")
	}
	v := rapid.SampledFrom(s.saves).Draw(rt, "snapshot")
	files := v.files
	if side, err := os.ReadFile(s.path + statefile.Suffix); err == nil && rapid.IntRange(0, 3).Draw(rt, "keep the state") == 0 {
		files = map[string]savedFile{"": files[""], statefile.Suffix: {content: side}}
		if wal, ok := v.files["-wal"]; ok {
			files["-wal"] = wal
		}
	}
	s.clear(rt)
	if !s.isElsewhere(v.inode) {
		if err := os.Link(v.inode, s.path); err != nil {
			rt.Fatal(err)
		}
	}
	s.write(rt, files, rapid.Bool().Draw(rt, "times"))
	s.content = v.content
}

// isElsewhere reports whether a database file was moved to another site.
func (w *world) isElsewhere(inode string) bool {
	return slices.ContainsFunc(w.sites, func(s *site) bool {
		a, errA := os.Stat(inode)
		b, errB := os.Stat(s.path)
		return errA == nil && errB == nil && os.SameFile(a, b)
	})
}

// loseFrames is a crash after which the disk has lost synced frames of the WAL, except
// frames that a checkpoint may have copied.
func (s *site) loseFrames(rt *rapid.T) {
	s.isOpen(rt)
	shm, err := os.ReadFile(s.path + "-shm")
	if err != nil || len(shm) < 132 {
		rt.Skip("no WAL index")
	}
	copied := binary.NativeEndian.Uint32(shm[128:]) // https://sqlite.org/walformat.html#the_wal_index_file_format
	s.crash(rt)
	wal, err := os.ReadFile(s.path + "-wal")
	if err != nil {
		rt.Skip("no WAL")
	}
	frames := max(0, len(wal)-format.WALHeaderSize) / (512 + format.FrameHeaderSize)
	kept := rapid.IntRange(min(int(copied), frames), frames).Draw(rt, "frames")
	if err := os.Truncate(s.path+"-wal", min(int64(len(wal)), format.FrameOffset(512, uint32(kept)+1))); err != nil {
		rt.Fatal(err)
	}
	now := liveDigest(rt, s.path)
	if _, known := s.parents[now]; !known {
		rt.Fatalf("site %s: %d of %d frames are no committed state", s.name, kept, frames)
	}
	s.content = now
	if kept < frames {
		s.lost = lost
	}
}

// copy copies a database, open or not, to another site.
func (s *site) copy(rt *rapid.T) {
	s.isThere(rt)
	to := rapid.SampledFrom(s.sites).Draw(rt, "to")
	if to == s || to.conn != nil {
		rt.Skip("not there")
	}
	files := s.read(rt)
	if rapid.IntRange(0, 3).Draw(rt, "without the state") == 0 {
		delete(files, statefile.Suffix)
	}
	to.clear(rt)
	to.write(rt, files, rapid.Bool().Draw(rt, "times"))
	to.content = s.content
}

// move moves a database, by copying or by renaming.
func (s *site) move(rt *rapid.T) {
	s.isClosed(rt)
	s.isThere(rt)
	to := rapid.SampledFrom(s.sites).Draw(rt, "to")
	if to == s || to.conn != nil {
		rt.Skip("not there")
	}
	content, rename := s.content, rapid.Bool().Draw(rt, "rename")
	files := s.read(rt)
	to.clear(rt)
	if rename {
		for suffix := range files {
			if err := os.Rename(s.path+suffix, to.path+suffix); err != nil {
				rt.Fatal(err)
			}
		}
	} else {
		to.write(rt, files, true)
	}
	s.clear(rt)
	to.content = content
}

func (s *site) damageState(rt *rapid.T) {
	s.isClosed(rt)
	name := s.path + statefile.Suffix
	content, err := os.ReadFile(name)
	if err != nil || len(content) == 0 {
		rt.Skip("no state file")
	}
	s.lost = min(s.lost, lostUnseen)
	switch at := rapid.IntRange(0, len(content)-1).Draw(rt, "at"); rapid.IntRange(0, 2).Draw(rt, "how") {
	case 0:
		err = os.Remove(name)
	case 1:
		err = os.Truncate(name, int64(at))
	default:
		content[at] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
		err = os.WriteFile(name, content, 0o600)
	}
	if err != nil {
		rt.Fatal(err)
	}
}
