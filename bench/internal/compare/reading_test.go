package compare

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A tiny comparison of readers has all figures, and correct answers.
func TestReading(t *testing.T) {
	file := filepath.Join(t.TempDir(), "reading.json")
	var out bytes.Buffer
	args := []string{"-quick", "-size", "20", "-scan", "5", "-files", "5", "-latency", "2ms", "-idle", "100ms", "-limit", "1m", "-peers", "walvfs", "-json", file}
	if err := reading(t.Context(), args, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r ReadingReport
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	if r.Files != 6 || r.Size < 15<<20 || len(r.Missing) > 0 || len(r.Readings) != 6+10 {
		t.Errorf("%+v", r)
	}
	for _, f := range r.Readings {
		if len(f.Errors) > 0 || f.Over > 0 || len(f.Memory) == 0 || f.Memory[0] < 1<<20 {
			t.Errorf("%+v", f)
		}
		if !strings.Contains(out.String(), f.What) {
			t.Errorf("%s is not in the table", f.What)
		}
		if f.Peer == localFile {
			continue
		}
		got := f.Traffic[0]
		switch {
		case strings.HasPrefix(f.What, "idle"):
			if got != (traffic{}) {
				t.Errorf("%s: %+v", f.What, got)
			}
		case strings.HasPrefix(f.What, "open"):
			if got.Requests < r.Files || got.Rounds < 2 || got.Rounds > got.Requests || got.Bytes == 0 {
				t.Errorf("%s: %+v", f.What, got)
			}
		}
	}
}

// A request counts as after the requests that had ended when it began.
func TestChains(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(100, int64(ms)*1e6) }
	done := []timedRequest{
		{at(0), at(30), 1},
		{at(31), at(60), 2}, {at(31), at(90), 4}, {at(35), at(62), 8},
		{at(61), at(70), 16}, // after the second, concurrent with the third
		{at(100), at(130), 32},
	}
	if got := chains(done); got != (traffic{Requests: 6, Rounds: 4, Bytes: 63}) {
		t.Errorf("%+v", got)
	}
	if got := chains(nil); got != (traffic{}) {
		t.Errorf("%+v", got)
	}
}
