package statefile

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/walvfs/walvfs/format"
)

// The package reads a state file of an earlier version: testdata/app.db-walvfs has a
// record of generation 1, a record of generation 2, and a state appended to that.
// UPDATE_GOLDEN=1 rewrites it, which is right only if the format has another version
// number.
func TestGolden(t *testing.T) {
	want := Record{
		NodeID: 42, Replica: "s3://bucket/app", File: FileID{Inode: 7, Birth: 9}, Path: "/var/lib/app/app.db", Machine: "machine",
		Acked:   &Mark{TXID: 20, Checksum: 1<<63 | 5, Epoch: format.Salt{1, 2}, End: Frame{Number: 7, Checksum: [2]uint32{8, 9}}},
		Intents: []Mark{{TXID: 21, Checksum: 1<<63 | 6}},
		State: &State{
			Acked: &Mark{TXID: 21, Checksum: 1<<63 | 6}, Epoch: format.Salt{3, 4}, Scanned: 11, Checksum: [2]uint32{12, 13},
			Trail: []Frame{{Number: 10, Checksum: [2]uint32{1, 2}}}, Previous: format.Salt{1, 2}, PreviousScanned: 9,
			PageSize: 4096, Floor: 3, Dirty: []byte{58, 48, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 16, 0, 0, 0, 5, 0, 8, 0}, // 5 and 8
		},
	}
	const name = "testdata/app.db-walvfs"
	if os.Getenv("UPDATE_GOLDEN") != "" {
		writeGolden(t, name, want)
	}
	image, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	current, older := readSlots(image, func([]byte) bool { return true })
	if current == nil || older == nil || current.generation != 2 || older.generation != 1 {
		t.Fatalf("slots %+v, %+v", current, older)
	}
	got, err := decode(current)
	if err != nil {
		t.Fatal(err)
	}
	want.Acked, want.Intents = want.State.Acked, nil // the state was written after the record
	if len(got.Intents) == 0 {
		got.Intents = nil
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %+v\nwant %+v, %+v", got, got.State, want, want.State)
	}
	if pages, err := got.State.Pages(); err != nil || !reflect.DeepEqual(pages.ToArray(), []uint32{5, 8}) {
		t.Errorf("dirty pages %v, %v", pages, err)
	}
}

func writeGolden(t *testing.T, name string, r Record) {
	t.Helper()
	f, err := os.Create(filepath.FromSlash(name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	slots, err := OpenSlots(f, func([]byte) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		value, err := json.Marshal(r)
		if err == nil {
			err = slots.Put(value)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	state, err := json.Marshal(r.State)
	if err == nil {
		err = slots.append(slots.current.tail, state)
	}
	if err != nil {
		t.Fatal(err)
	}
}
