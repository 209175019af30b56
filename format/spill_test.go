package format

import (
	"bytes"
	"os"
	"testing"
)

// The threshold of a million pages is the library's; a lower one is only set here.
func TestEncoderSpillsItsIndex(t *testing.T) {
	write := func(dir string, finish func(e *Encoder) error) []byte {
		var out bytes.Buffer
		e, err := NewEncoder(&out, LTXHeader{PageSize: 512, Commit: 100, MinTXID: 1, MaxTXID: 1})
		if err != nil {
			t.Fatal(err)
		}
		e.SetSpillDir(dir)
		e.enc.SetSpillThreshold(10)
		for no := uint32(1); no <= 100; no++ {
			if err := e.Page(no, make([]byte, 512)); err != nil {
				t.Fatal(err)
			}
		}
		if files, _ := os.ReadDir(dir); dir != "" && len(files) != 1 {
			t.Errorf("%d temporary files", len(files))
		}
		if err := finish(e); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	closeIt := func(e *Encoder) error { _, err := e.Close(); return err }
	dir := t.TempDir()
	if !bytes.Equal(write("", closeIt), write(dir, closeIt)) {
		t.Error("a spilled index gives another file")
	}
	write(dir, (*Encoder).Abort)
	if files, _ := os.ReadDir(dir); len(files) != 0 {
		t.Errorf("%d temporary files left behind", len(files))
	}
}
