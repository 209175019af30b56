package storagetest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
	_ "github.com/walvfs/walvfs/shipper/storage/file"
	_ "github.com/walvfs/walvfs/shipper/storage/gcs"
	_ "github.com/walvfs/walvfs/shipper/storage/s3"
)

const serveVar = "WALVFS_TEST_SERVE"

func TestMain(m *testing.M) {
	if os.Getenv(serveVar) != "" {
		serveForever()
	}
	goleak.VerifyTestMain(WithTools(m))
}

func TestMemory(t *testing.T) {
	Run(t, func(*testing.T) storage.Store { return &Memory{Name: "test"} })
}

// TestReplicas opens each replica in both ways, and finds with one what it wrote with the
// other.
func TestReplicas(t *testing.T) {
	for name, open := range map[string]func(testing.TB) *Replica{"File": File, "S3": S3, "GCS": GCS} {
		t.Run(name, func(t *testing.T) {
			r := open(t)
			byOptions := r.Open(t)
			if err := byOptions.Create(t.Context(), "k", content("x"), storage.Attrs{}); err != nil {
				t.Fatal(err)
			}
			r.Setenv(t)
			byURL, err := storage.Open(t.Context(), r.URL, storage.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer byURL.Close()
			(&suite{t, byURL}).want("k", "x")
			if open(t).URL == r.URL {
				t.Error("the next replica is the same")
			}
		})
	}
}

// TestLitestream lists a replica with Litestream, which gets only its URL and the
// environment: keys, layout and server are as Litestream expects.
func TestLitestream(t *testing.T) {
	for name, open := range map[string]func(testing.TB) *Replica{"File": File, "S3": S3, "GCS": GCS} {
		t.Run(name, func(t *testing.T) {
			r := open(t)
			store := r.Open(t)
			key := store.Layout().Key(format.LevelRaw, 0xabc, 0xabc)
			if err := store.Create(t.Context(), key, content("x"), storage.Attrs{Time: someTime}); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(Litestream(t), "ltx", r.URL)
			cmd.Env = append(os.Environ(), r.Env...)
			out, err := cmd.CombinedOutput()
			// For S3, Litestream lists when the object was created instead.
			wantTime := name == "S3" || strings.Contains(string(out), "2024-02-29T12:34:56Z")
			if err != nil || !strings.Contains(string(out), "0000000000000abc") || !wantTime {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// serveForever is the function that TestCrash runs in another process.
func serveForever() {
	for _, start := range []func() (*server, error){gcsServer, func() (*server, error) {
		i, err := s3Server()
		return i.server, err
	}} {
		s, err := start()
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("serving", s.addr, s.dir)
	}
	select {}
}

// TestCrash: the servers of a killed test process end with it.
func TestCrash(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), serveVar+"=1")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var addrs, dirs []string
	for lines := bufio.NewScanner(stdout); len(addrs) < 2 && lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) != 3 || f[0] != "serving" {
			t.Errorf("it says: %s", lines.Text())
			continue
		}
		addrs, dirs = append(addrs, f[1]), append(dirs, f[2])
	}
	cmd.Process.Kill()
	cmd.Wait()
	if len(addrs) != 2 {
		t.Fatalf("%d servers started", len(addrs))
	}
	gone := func() bool {
		for i := range addrs {
			c, dialErr := net.Dial("tcp", addrs[i])
			if dialErr == nil {
				c.Close()
			}
			_, statErr := os.Stat(dirs[i])
			if dialErr == nil || !os.IsNotExist(statErr) {
				return false
			}
		}
		return true
	}
	for deadline := time.Now().Add(10 * time.Second); !gone(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still there: %s %s", addrs, dirs)
		}
	}
}
