package sidecar

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// Starting over removes what was appended, but not what is durable.
func TestRewindKeepsIntents(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	s := New("file:///r", FileID{Inode: 1})
	if err := s.Save(path); err != nil {
		t.Fatal(err)
	}
	f := Open(path)
	if err := f.Continue(); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sync, err := f.AppendWhole(State{PageSize: 512, Intents: []Mark{{TXID: 7, Checksum: 9}}})
	if err != nil || sync() != nil {
		t.Fatal(err)
	}
	state := State{PageSize: 512, Dirty: make([]byte, 100<<10)}
	for range 20 {
		before := f.size
		if err := f.Append(state, nil); err != nil {
			t.Fatal(err)
		}
		if f.size >= before {
			continue
		}
		if b, err := os.ReadFile(path + Suffix); err != nil || !bytes.Contains(b[:f.keep], []byte(`"intents"`)) {
			t.Error("the durable line is gone", err)
		}
		return
	}
	t.Error("it has not started over")
}
