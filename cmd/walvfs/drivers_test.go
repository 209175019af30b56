package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// The command needs only a URL of each kind, and the environment.
func TestDrivers(t *testing.T) {
	for name, replica := range map[string]func(testing.TB) *storagetest.Replica{
		"file": storagetest.File,
		"s3":   storagetest.S3,
		"gcs":  storagetest.GCS,
	} {
		t.Run(name, func(t *testing.T) {
			r := replica(t)
			r.Setenv(t)
			if name == "s3" {
				t.Setenv("AWS_CA_BUNDLE", "")
			}
			target := filepath.Join(t.TempDir(), "app.db")
			if out, status := runCommand("restore", "-o", target, r.URL); status != statusNoReplica {
				t.Fatalf("of an empty bucket: status %d, %s", status, out)
			}

			store := r.Open(t)
			page := bytes.Repeat([]byte("page"), 1024)
			key := store.Layout().Key(format.LevelRaw, 1, 1)
			if err := store.Create(t.Context(), key, bytes.NewReader(onePage(t, page)), storage.Attrs{Time: firstCommit}); err != nil {
				t.Fatal(err)
			}
			if out, status := runCommand("restore", "-o", target, r.URL); status != statusOK {
				t.Fatalf("status %d, %s", status, out)
			}
			if got, err := os.ReadFile(target); err != nil || !bytes.Equal(got, page) {
				t.Errorf("the database is not the one of the replica: %v", err)
			}
			out, status := runCommand("ls", r.URL)
			if status != statusOK || !strings.Contains(out, "0000000000000001") {
				t.Errorf("ls: status %d, %s", status, out)
			}
		})
	}
}

func runCommand(args ...string) (output string, status int) {
	var out strings.Builder
	status = run(args, &out, &out, os.Getenv)
	return out.String(), status
}

// onePage is an LTX file of a database of one page.
func onePage(t *testing.T, page []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	enc, err := format.NewEncoder(&b, format.LTXHeader{PageSize: uint32(len(page)), Commit: 1, MinTXID: 1, MaxTXID: 1, Timestamp: firstCommit.UnixMilli()})
	if err == nil {
		err = enc.Page(1, page)
	}
	if err == nil {
		_, err = enc.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
