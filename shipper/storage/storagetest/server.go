package storagetest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// server is a program that serves this test process and ends with it.
type server struct {
	addr string // host:port
	dir  string // its files; removed when it ends
	log  string // path of its output

	cmd      *exec.Cmd
	lifeline *os.File // the server lives while this is open
}

// guarded starts a program that is killed, and whose directory is removed, when the other
// end of the pipe on descriptor 3 is closed: by this process, or by the system when this
// process ends for any reason. (A death signal of the parent would come when the parent's
// *thread* ends, and only on Linux.) The program has the shell's process ID.
const guarded = `(
	read -r _
	kill -9 $$
	while [ -e "$0" ] && ! rm -rf "$0"; do sleep 0.1; done
) <&3 >/dev/null 2>&1 &
exec "$@" 3<&-`

// Dir is the directory for servers' files. Each server has its own directory there, which
// is removed when it ends. Set Dir before the first server starts; empty is the system's
// directory for temporary files.
var Dir string

// spec describes how to run a server.
type spec struct {
	tool  *tool
	args  func(addr, dir string) []string
	env   []string
	ready func(s *server) error // returns nil once it serves
}

// start starts a server on a free port. If another process takes the port first, the
// server ends early, and start tries another port.
func (sp spec) start() (*server, error) {
	bin, err := sp.tool.path()
	if err != nil {
		return nil, err
	}
	for range 5 {
		var s *server
		if s, err = sp.startOnce(bin); err == nil {
			return s, nil
		}
		if !errors.Is(err, errEnded) {
			break
		}
	}
	return nil, fmt.Errorf("%s: %w", sp.tool.name, err)
}

var errEnded = errors.New("the server ended")

func (sp spec) startOnce(bin string) (*server, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(Dir, "walvfs-"+sp.tool.name+"-")
	if err != nil {
		return nil, err
	}
	s := &server{addr: addr, dir: dir, log: filepath.Join(dir, "log")}
	if err := s.run(bin, sp.args(addr, dir), sp.env); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := sp.ready(s)
		if err == nil {
			return s, nil
		}
		if s.ended() {
			err = errEnded
		} else if time.Now().Before(deadline) {
			continue
		}
		err = fmt.Errorf("%w; it printed:\n%s", err, s.output())
		s.stop()
		return nil, err
	}
}

// run starts the program with its output in a file: pipes need goroutines, which the
// tests would report as leaks.
func (s *server) run(bin string, args, env []string) error {
	log, err := os.Create(s.log)
	if err != nil {
		return err
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	s.cmd = exec.Command("sh", append([]string{"-c", guarded, s.dir, bin}, args...)...)
	s.cmd.Env = append(os.Environ(), env...)
	s.cmd.Dir = s.dir
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.ExtraFiles = []*os.File{r}
	if err := s.cmd.Start(); err != nil {
		w.Close()
		return err
	}
	s.lifeline = w
	return nil
}

func (s *server) stop() {
	s.lifeline.Close()
	s.cmd.Wait()
}

func (s *server) output() string {
	b, _ := os.ReadFile(s.log)
	return strings.TrimSpace(string(bytes.ToValidUTF8(b, nil)))
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func mustMkdir(dir, name string) string {
	path := filepath.Join(dir, name)
	if err := os.Mkdir(path, 0o755); err != nil {
		panic(err) // in a directory created a moment ago
	}
	return path
}
