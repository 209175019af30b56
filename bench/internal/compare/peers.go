package compare

import (
	"cmp"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs"
)

// peer is one way to run a database, with or without a replica.
type peer struct {
	Name       string         `json:"name"`
	About      string         `json:"about"`
	Parameters string         `json:"parameters,omitempty"` // of the database's URI, in addition to vfs and replica
	VFS        string         `json:"vfs,omitempty"`        // the replicating VFS; empty: walvfs's default
	InProcess  bool           `json:"in_process"`           // replicated by walvfs
	Litestream *time.Duration `json:"litestream,omitempty"` // by Litestream, with these intervals; zero: its defaults
	Asked      bool           `json:"-"`                    // only if -peers names it
}

func every(d time.Duration) *time.Duration { return &d }

// peers lists all peers, in the order of each round. The first chosen peer is the
// baseline of the others.
var peers = []peer{
	{Name: "plain", About: "go-sqlite3, no replica"},
	{Name: "walvfs-quiet", About: "walvfs, and nothing is uploaded until the end", InProcess: true, VFS: quietVFS},
	{Name: "walvfs", About: "walvfs, asynchronous", InProcess: true},
	{Name: "walvfs-0s", About: "walvfs, uploading as often as it can", InProcess: true, Parameters: "interval=0s"},
	{Name: "walvfs-sync", About: "walvfs, a commit returns when the replica has it", InProcess: true, Parameters: "durability=sync"},
	{Name: "litestream", About: "Litestream beside it, default settings", Litestream: every(0)},
	{Name: "litestream-1ms", About: "Litestream beside it, looking and uploading every millisecond", Litestream: every(time.Millisecond)},
	{Name: "walvfs-apart", About: "walvfs-quiet, which writes the header and the page of a frame apart, as SQLite does", InProcess: true, VFS: quietVFS, Parameters: "psow=0", Asked: true},
}

// quietVFS uploads the filled database, and then nothing before the last close: it costs
// only what the VFS costs, without the replication.
const quietVFS = "replicated-quiet"

func init() {
	vfs.Register(quietVFS, vfs.Options{Interval: time.Hour, Policy: shipper.Policy{Levels: []time.Duration{}, Snapshots: vfs.Off, Retention: vfs.Off}})
}

// replicated reports whether the peer has a replica.
func (p peer) replicated() bool { return p.InProcess || p.Litestream != nil }

// uri returns the URI that the application opens.
func (p peer) uri(path, replica string, pragmas ...string) string {
	var b strings.Builder
	b.WriteString("file:" + path + "?_pragma=busy_timeout(60000)")
	for _, pragma := range pragmas {
		b.WriteString("&_pragma=" + pragma)
	}
	if p.InProcess {
		b.WriteString("&vfs=" + cmp.Or(p.VFS, "replicated") + "&close_timeout=60s&replica=" + url.QueryEscape(replica))
	} else {
		b.WriteString("&_pragma=journal_mode(wal)")
	}
	if p.Parameters != "" {
		b.WriteString("&" + p.Parameters)
	}
	return b.String()
}

// replicaURL returns the URL of the replica of one of a workload's databases.
func replicaURL(r *storagetest.Replica, db int) string {
	if db == 0 {
		return r.URL
	}
	return fmt.Sprintf("%s-%04d", r.URL, db)
}

// databasePath returns the path of one of a workload's databases.
func databasePath(dir string, db int) string {
	return filepath.Join(dir, fmt.Sprintf("app-%04d.db", db))
}
