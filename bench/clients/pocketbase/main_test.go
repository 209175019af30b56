package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"

	"github.com/walvfs/walvfs/bench/clients/internal/clienttest"
	"github.com/walvfs/walvfs/vfs"
)

func TestMain(m *testing.M) { clienttest.Main(m, main) }

// service is a running PocketBase with a superuser that has logged in.
type service struct {
	t     *testing.T
	url   string
	token string
	end   func() error // SIGTERM, and wait
}

func start(t *testing.T, p *clienttest.Program) *service {
	t.Helper()
	free, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	free.Close()
	cmd := p.Command("serve", "--dir", "pb_data", "--http", addr)
	cmd.Stdout = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &service{t: t, url: "http://" + addr}
	s.end = func() error {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		return cmd.Wait()
	}
	s.await(func() bool { return s.get("/api/health") == http.StatusOK })
	var answer struct{ Token string }
	s.call("POST", "/api/collections/_superusers/auth-with-password", `{"identity": "a@example.com", "password": "1234567890"}`, &answer)
	s.token = answer.Token
	return s
}

// await waits for a condition.
func (s *service) await(cond func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); {
		if time.Now().After(deadline) {
			s.t.Fatal("waited for 30 s in vain")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// get returns the status of an answer, 0 if there is none.
func (s *service) get(path string) int {
	resp, err := http.Get(s.url + path)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// call makes a request as the superuser and parses the answer, if into is not nil.
func (s *service) call(method, path, body string, into any) {
	s.t.Helper()
	req, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", s.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s: %s", resp.Status, answer)
	}
	if err == nil && into != nil {
		err = json.NewDecoder(bytes.NewReader(answer)).Decode(into)
	}
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
}

func (s *service) order(item string) {
	s.t.Helper()
	s.call("POST", "/api/collections/orders/records", `{"item": "`+item+`"}`, nil)
}

const orders = "SELECT group_concat(item ORDER BY item) FROM orders"

// A backup that PocketBase restores becomes the newest state of the replica, with what its
// WAL held, and what comes after it follows. Another machine goes on from the replica.
func TestProgram(t *testing.T) {
	p := clienttest.New(t)
	p.Run("superuser", "upsert", "--dir", "pb_data", "a@example.com", "1234567890")
	s := start(t, p)
	s.call("POST", "/api/collections", `{"name": "orders", "type": "base", "fields": [{"name": "item", "type": "text"}]}`, nil)
	s.order("1 in the backup")
	s.call("POST", "/api/backups", `{"name": "backup.zip"}`, nil)
	s.order("2 after it")
	before, err := os.Stat(filepath.Join(p.Dir, "pb_data", "data.db"))
	if err != nil {
		t.Fatal(err)
	}
	s.call("POST", "/api/backups/backup.zip/restore", "", nil)
	s.await(func() bool { // until the program that was executed again answers
		now, err := os.Stat(filepath.Join(p.Dir, "pb_data", "data.db"))
		left, _ := filepath.Glob(filepath.Join(p.Dir, "pb_data", ".pb_temp_to_delete"))
		return err == nil && !os.SameFile(before, now) && len(left) == 0 && s.get("/api/health") == http.StatusOK
	})
	s.order("3 after the restore")
	if err := s.end(); err != nil {
		t.Error("the end:", err)
	}
	if got, want := p.Restore(orders), "1 in the backup,3 after the restore"; got != want {
		t.Errorf("restored: %q, want %q", got, want)
	}

	p.LoseMachine()
	s = start(t, p)
	s.order("4 on another machine")
	if err := s.end(); err != nil {
		t.Error("the end:", err)
	}
	if got, want := p.Restore(orders), "1 in the backup,3 after the restore,4 on another machine"; got != want {
		t.Errorf("restored: %q, want %q", got, want)
	}
}

// The database stays open when PocketBase has closed its idle connections.
func TestIdle(t *testing.T) {
	dir := t.TempDir()
	args := os.Args
	t.Cleanup(func() { os.Args = args })
	os.Args = []string{"pocketbase", "--dir", dir} // PocketBase reads its flags there
	r := replication{replica: "file://" + t.TempDir() + "/replica", diverged: "halt"}
	app := r.app()
	t.Cleanup(func() { // as PocketBase ends
		err := app.OnTerminate().Trigger(&core.TerminateEvent{App: app}, func(e *core.TerminateEvent) error {
			return e.App.ResetBootstrapState()
		})
		if err != nil {
			t.Error(err)
		}
	})
	if err := app.Bootstrap(); err != nil {
		t.Fatal(err)
	}
	for _, builder := range []dbx.Builder{app.ConcurrentDB(), app.NonconcurrentDB()} {
		pool := builder.(*dbx.DB).DB()
		pool.SetConnMaxIdleTime(time.Nanosecond) // 3 minutes is what PocketBase sets
		for deadline := time.Now().Add(30 * time.Second); pool.Stats().OpenConnections > 0; {
			if time.Now().After(deadline) {
				t.Fatal("an idle connection is still open")
			}
			time.Sleep(time.Millisecond)
		}
	}
	if len(vfs.Databases()) != 1 {
		t.Error("replication ended with PocketBase's idle connections")
	}
}
