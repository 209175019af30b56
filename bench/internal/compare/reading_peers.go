package compare

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/walvfs/walvfs/bench/readers"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	_ "github.com/walvfs/walvfs/vfs/reader"
	"github.com/walvfs/walvfs/vfs/reader/diff"
)

// localFile is the peer that gives the correct answers.
const localFile = "local-file"

// walvfsReader is the only peer that compares two moments.
const walvfsReader = "walvfs"

// readingPeer is a way to read a replica.
type readingPeer struct {
	Name   string
	About  string
	module string // directory below readers, empty for this program
	tags   string // build tags of the module
	binary string // path of the built program
}

// readingPeers lists all peers. Each module of another program has its own dependencies.
var readingPeers = []readingPeer{
	{Name: localFile, About: "go-sqlite3 and the database itself: there is no replica"},
	{Name: walvfsReader, About: "vfs=replica as it is by default"},
	{Name: "litestream", About: "the VFS of Litestream v0.5.18, with SQLite in C", module: "litestream", tags: "vfs"},
}

// build builds the wanted peers, and records why a peer cannot take part.
func (o *readingOptions) build(l *lender, missing map[string]string) (peers []readingPeer) {
	_, here, _, _ := runtime.Caller(0)
	dir := l.directory("")
	for _, p := range readingPeers {
		if p.Name != localFile && !chosen(o.peers.chosen, p.Name, true) {
			continue
		}
		if p.module != "" {
			p.binary = filepath.Join(dir, p.Name)
			cmd := exec.CommandContext(l.Context(), "go", "build", "-tags="+p.tags, "-o", p.binary, ".")
			cmd.Dir = filepath.Join(filepath.Dir(here), "../../readers", p.module)
			if text, err := cmd.CombinedOutput(); err != nil {
				missing[p.Name] = fmt.Sprintf("it cannot be built: %v: %s", err, strings.TrimSpace(string(text)))
				continue
			}
		}
		peers = append(peers, p)
	}
	return peers
}

// readingRole in the environment, like [roleVariable], makes this program a reader.
const readingRole = "reading"

// readerProcess is a process that reads.
type readerProcess struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	orders  *json.Encoder
	answers *json.Decoder
}

// start starts a process that reads the replica far, or the database if p is localFile.
func (p readingPeer) start(ctx context.Context, d *readingData, far *storagetest.Replica) (*readerProcess, error) {
	program, arg := p.binary, far.URL
	if p.module == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		program = self
		if p.Name == localFile {
			arg = "file:" + d.path
		}
	} else {
		arg += "?" + url.Values{"endpoint": {far.Endpoint}, "region": {far.Options.Region}, "forcePathStyle": {"true"}}.Encode()
	}
	cmd := exec.CommandContext(ctx, program, arg)
	cmd.Env = append(append(os.Environ(), far.Env...), roleVariable+"="+readingRole)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &readerProcess{cmd, in, json.NewEncoder(in), json.NewDecoder(out)}, cmd.Start()
}

// do makes the process carry out an order.
func (p *readerProcess) do(o readers.Order) (a readers.Answer, err error) {
	if err = p.orders.Encode(o); err == nil {
		err = p.answers.Decode(&a)
	}
	if err != nil {
		err = fmt.Errorf("the reader ended: %w", err)
	}
	return a, err
}

func (p *readerProcess) close() error { return errors.Join(p.in.Close(), p.cmd.Wait()) }

// readHere is the main function of a reading process of this program.
func readHere(in io.Reader, out io.Writer) error {
	source := os.Args[1]
	p := readers.Program{
		Open: func() (*sql.DB, error) {
			if strings.HasPrefix(source, "file:") {
				return sql.Open("sqlite3", source+"?mode=ro")
			}
			return sql.Open("sqlite3", "file:reading.db?vfs=replica&replica="+url.QueryEscape(source))
		},
		Move: func(at time.Time) string { return "PRAGMA walvfs_time='" + at.UTC().Format(time.RFC3339Nano) + "'" },
		Diff: func(ctx context.Context, since, until time.Time) (int, error) {
			return diffRows(ctx, source, since, until)
		},
	}
	return p.Serve(in, out)
}

// diffRows compares like walvfs diff, and counts the rows.
func diffRows(ctx context.Context, source string, since, until time.Time) (rows int, err error) {
	var conns [2]*sqlite3.Conn
	for i, at := range []time.Time{since, until} {
		uri := url.Values{"vfs": {"replica"}, "replica": {source}, "timestamp": {at.UTC().Format(time.RFC3339Nano)}}
		if conns[i], err = sqlite3.OpenContext(ctx, "file:diff.db?"+uri.Encode()); err != nil {
			return 0, err
		}
		defer conns[i].Close()
	}
	d, err := diff.New(ctx, conns[0], conns[1], diff.Options{})
	if err != nil {
		return 0, err
	}
	for _, t := range d.Tables {
		if err := d.Rows(ctx, t, func(diff.Change) error { rows++; return nil }); err != nil {
			return 0, err
		}
	}
	return rows, nil
}
