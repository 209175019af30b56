package vfs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"pgregory.net/rapid"

	"github.com/walvfs/walvfs/internal/statefile"
	"github.com/walvfs/walvfs/shipper"
)

// leave ends the process, once the replica has every commit.
func (m *machine) leave(rt *rapid.T) {
	if m.outage {
		rt.Skip("outage")
	}
	m.open(rt)
	m.drain(rt)
	if rapid.Bool().Draw(rt, "crash") {
		m.crash(rt)
	} else {
		m.close(rt)
	}
}

// goOn opens the database, which must be compared with the replica, and changes it
// meanwhile.
func (m *machine) goOn(rt *rapid.T) {
	m.openNew(rt)
	for range rapid.IntRange(0, 4).Draw(rt, "changes") {
		rapid.SampledFrom([]func(*rapid.T){m.commit, m.commitMuch, m.vacuum, m.checkpoint, m.rollBack}).Draw(rt, "change")(rt)
	}
}

// move moves the database.
func (m *machine) move(rt *rapid.T) {
	m.leave(rt)
	from := m.path
	m.machine++
	m.path = filepath.Join(m.dir, fmt.Sprint(m.machine), "app.db")
	if err := os.MkdirAll(filepath.Dir(m.path), 0o700); err != nil {
		rt.Fatal(err)
	}
	copyFiles(m.t, from, m.path)
	removeFiles(m.t, from)
	m.goOn(rt)
	m.drain(rt)
}

// loseState loses the state file.
func (m *machine) loseState(rt *rapid.T) {
	m.leave(rt)
	if err := os.Remove(m.path + statefile.Suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		rt.Fatal(err)
	}
	m.goOn(rt)
	m.drain(rt)
}

// setBack restores all files of an earlier moment. Replication halts, or continues the
// replica's newest state.
func (m *machine) setBack(rt *rapid.T) {
	m.leave(rt)
	then, note := save(m.t, m.path), m.commits[len(m.commits)-1]
	m.goOn(rt)
	m.leave(rt)
	now, commits := save(m.t, m.path), m.commits
	then.Write(m.t, m.path)
	m.commits = append(m.commits, note)
	m.goOn(rt)
	if err := flush(rt.Context(), m.path); !errors.Is(err, shipper.ErrDiverged) {
		m.drain(rt)
		return
	}
	m.conn.Close()
	m.conn = nil
	now.Write(m.t, m.path)
	m.commits = commits
}
