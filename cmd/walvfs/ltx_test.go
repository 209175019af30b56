package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs"
)

// Litestream and walvfs list a replica that walvfs wrote alike, level by level, and
// Litestream restores the last state of each level.
func TestLitestreamLists(t *testing.T) {
	vfs.Register("replicated-levels", vfs.Options{Interval: vfs.Off, Policy: shipper.Policy{
		Levels:    []time.Duration{50 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond},
		Snapshots: 500 * time.Millisecond,
		Retention: time.Hour,
	}})
	for name, replica := range map[string]func(testing.TB) *storagetest.Replica{
		"file": storagetest.File,
		"s3":   storagetest.S3,
		"gcs":  storagetest.GCS,
	} {
		t.Run(name, func(t *testing.T) {
			r := replica(t)
			r.Setenv(t)
			writeLevels(t, r.URL)
			ours := listedLTX(t, r.URL)
			requireListing(t, "all", ours, litestreamLTX(t, r, "all"))
			for level := range format.LevelSnapshot + 1 {
				of := slices.DeleteFunc(slices.Clone(ours), func(f ltxFile) bool { return f.Level != level })
				requireListing(t, fmt.Sprint(level), of, litestreamLTX(t, r, fmt.Sprint(level)))
				if len(of) > 0 {
					requireSameRestore(t, r, of[len(of)-1].MaxTXID)
				}
			}
		})
	}
}

// writeLevels commits until the replica has files of levels 0 to 3 and snapshots.
func writeLevels(t *testing.T, replica string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "app.db")
	db, err := sqlite3.Open("file:" + path + "?vfs=replicated-levels&replica=" + url.QueryEscape(replica))
	if err == nil {
		err = db.Exec("CREATE TABLE t(x)")
	}
	deadline := time.Now().Add(time.Minute)
	for done := false; err == nil && !done; {
		if err = db.Exec("INSERT INTO t VALUES(randomblob(3000))"); err == nil {
			err = flush(t.Context(), path)
		}
		time.Sleep(10 * time.Millisecond) // so that time passes for levels
		levels := map[int]int{}
		for _, f := range listedLTX(t, replica) {
			levels[f.Level]++
		}
		done = levels[0] > 2 && levels[1] > 2 && levels[2] > 1 && levels[3] > 0 && levels[9] > 1
		if time.Now().After(deadline) {
			t.Fatalf("files by level: %v", levels)
		}
	}
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// ltxFile is the description of a file that both programs print.
type ltxFile struct {
	Level   int         `json:"level"`
	MinTXID format.TXID `json:"min_txid"`
	MaxTXID format.TXID `json:"max_txid"`
	Size    int64       `json:"size"`
}

func (f ltxFile) String() string {
	return fmt.Sprintf("%d %s %s %d", f.Level, f.MinTXID, f.MaxTXID, f.Size)
}

func listedLTX(t *testing.T, replica string) (files []ltxFile) {
	t.Helper()
	out, status := runCommand("ls", "--json", replica)
	if err := json.Unmarshal([]byte(out), &files); err != nil || status != statusOK {
		t.Fatalf("ls: status %d, %v, %s", status, err, out)
	}
	return files
}

func litestreamLTX(t *testing.T, r *storagetest.Replica, level string) (files []ltxFile) {
	t.Helper()
	out := litestream(t, "ltx", "-json", "-level", level, r.URL)
	if i := strings.Index("\n"+out, "\n["); i < 0 {
		t.Fatalf("litestream ltx: %s", out)
	} else if err := json.Unmarshal([]byte(out[i:]), &files); err != nil {
		t.Fatalf("litestream ltx: %v, %s", err, out)
	}
	return files
}

func litestream(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), storagetest.Litestream(t), args...)
	cmd.Env = append(os.Environ(), "AWS_CA_BUNDLE=")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("litestream %s: %v, %s", args, err, out)
	}
	return string(out)
}

func requireListing(t *testing.T, level string, ours, theirs []ltxFile) {
	t.Helper()
	if a, b := fmt.Sprint(ours), fmt.Sprint(theirs); a != b {
		t.Errorf("level %s: walvfs lists %d files, %s\nlitestream lists %d, %s", level, len(ours), a, len(theirs), b)
	}
}

func requireSameRestore(t *testing.T, r *storagetest.Replica, txid format.TXID) {
	t.Helper()
	dir := t.TempDir()
	ours, theirs := filepath.Join(dir, "ours.db"), filepath.Join(dir, "theirs.db")
	if out, status := runCommand("restore", "-q", "-txid", txid.String(), "-o", ours, r.URL); status != statusOK {
		t.Fatalf("restore: status %d, %s", status, out)
	}
	litestream(t, "restore", "-txid", txid.String(), "-o", theirs, r.URL)
	a, errA := os.ReadFile(ours)
	b, errB := os.ReadFile(theirs)
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Errorf("TXID %s is restored differently: %v, %v", txid, errA, errB)
	}
}

// flush makes the replica of an open database get all commits so far.
func flush(ctx context.Context, path string) error {
	db, err := vfs.Lookup(path)
	if err != nil {
		return err
	}
	return db.Flush(ctx)
}
