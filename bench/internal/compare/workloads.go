package compare

import (
	"math"
	"time"
)

// workload is an application's work with its databases.
type workload struct {
	Name  string `json:"name"`
	About string `json:"about"`

	Setup       string        `json:"setup"`            // SQL, once for each database, after the schema
	Write       string        `json:"write,omitempty"`  // SQL of a transaction; empty: an idle workload
	Read        string        `json:"read,omitempty"`   // SQL
	Reads       int           `json:"reads,omitempty"`  // for each write
	Stamp       bool          `json:"stamp,omitempty"`  // each transaction writes its number, by which it is found in the replica
	Connections int           `json:"connections"`      // concurrent connections
	Synchronous string        `json:"synchronous"`      // normal or full
	Rate        float64       `json:"rate,omitempty"`   // transactions a second; zero: one after another
	Drift       time.Duration `json:"drift,omitempty"`  // with a rate: how far the pace wanders; see due
	Databases   int           `json:"databases"`        // open at the same time
	Settle      time.Duration `json:"settle,omitempty"` // time before counting begins
	Cost        bool          `json:"cost,omitempty"`   // counts requests: all peers at once, after a warm-up
	SkipRestore bool          `json:"skip_restore,omitempty"`
	Reopen      bool          `json:"reopen,omitempty"`     // the filled database is closed and opened again before counting begins
	Size        int64         `json:"size,omitempty"`       // bytes that the database has before it gets a replica, in place of Setup
	SpeedTest   int           `json:"speed_test,omitempty"` // the --size of SQLite's speedtest1, in place of everything above
	Asked       bool          `json:"-"`                    // only if -workload names it

	Duration time.Duration `json:"duration,omitempty"` // unless -duration overrides it; zero: the general default
	Rounds   int           `json:"rounds,omitempty"`   // unless -rounds overrides it; zero: the general default
	Stores   []string      `json:"-"`                  // unless -store overrides them
	Peers    []string      `json:"-"`                  // unless -peers overrides them; nil: all
}

const schema = `CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)`

// fill inserts n rows of random bytes.
const (
	small     = `INSERT INTO t (x) SELECT randomblob(100) FROM generate_series(1, 10000)`
	insert    = `INSERT INTO t (x) VALUES (randomblob(100))`
	costSetup = `INSERT INTO t (x) SELECT randomblob(400) || zeroblob(400) FROM generate_series(1, 80000)`
	costWrite = `INSERT INTO t (id, x) SELECT 1 + abs(random()) % 80000, randomblob(400) || zeroblob(400) FROM generate_series(1, 2)
		UNION ALL SELECT NULL, randomblob(800) WHERE true
		ON CONFLICT (id) DO UPDATE SET x = excluded.x`
	oneS3   = "versitygw"
	general = 5 * time.Second

	generalRounds = 5
)

// followed are the peers of workloads that follow each commit into the bucket.
var followed = []string{"plain", "walvfs", "walvfs-0s", "walvfs-sync", "litestream"}

// workloads lists all workloads, in the order of the report.
var workloads = []workload{
	{Name: "commit-1-normal", About: "single-row commits, one connection, synchronous=normal",
		Setup: small, Write: insert, Connections: 1, Synchronous: "normal"},
	{Name: "commit-1-full", About: "single-row commits, one connection, synchronous=full",
		Setup: small, Write: insert, Connections: 1, Synchronous: "full"},
	{Name: "commit-8-normal", About: "single-row commits, 8 connections, synchronous=normal",
		Setup: small, Write: insert, Connections: 8, Synchronous: "normal"},
	{Name: "commit-8-full", About: "single-row commits, 8 connections, synchronous=full",
		Setup: small, Write: insert, Connections: 8, Synchronous: "full"},
	{Name: "commit-long", About: "single-row commits, one connection, synchronous=normal, so long that levels are made",
		Setup: small, Write: insert, Connections: 1, Synchronous: "normal",
		Rounds: 3, Duration: 75 * time.Second, Peers: []string{"plain", "walvfs-quiet", "walvfs"}},
	{Name: "commit-1-sync", About: "single-row commits, one connection, each of them followed into the bucket",
		Setup: small, Write: insert, Stamp: true, Connections: 1, Synchronous: "normal", Peers: []string{"walvfs-sync"}},
	{Name: "reopen", About: "single-row commits, one connection, after a database was closed and opened again",
		Setup: small, Write: insert, Connections: 1, Synchronous: "normal", Reopen: true,
		Rounds: 2, Duration: time.Minute, Peers: []string{"walvfs"}},
	{Name: "speedtest1", About: "SQLite's own benchmark, as go-sqlite3 has it, in WAL mode",
		SpeedTest: 100, Synchronous: "full", Peers: []string{"plain", "walvfs-quiet", "walvfs"}},
	{Name: "paced", About: "50 single-row commits a second, each of them followed into the bucket",
		Setup: small, Write: insert, Stamp: true, Connections: 1, Synchronous: "normal", Rate: 50,
		Stores: []string{"file", "versitygw", "fake-gcs-server", "versitygw+30ms", "fake-gcs-server+30ms"},
		Peers:  append([]string{"litestream-1ms"}, followed...)},
	{Name: "paced-2s", About: "a single-row commit every 2 s, each of them followed into the bucket",
		Setup: small, Write: insert, Stamp: true, Connections: 1, Synchronous: "normal", Rate: 0.5, Drift: time.Second,
		Rounds: 3, Duration: 41 * time.Second, Peers: followed},
	{Name: "bulk", About: "transactions of 1,000 rows",
		Setup: small, Write: `INSERT INTO t (x) SELECT randomblob(100) FROM generate_series(1, 1000)`, Connections: 1, Synchronous: "normal"},
	{Name: "read", About: "19 reads to each write, 4 connections",
		Setup: small, Write: insert, Read: `SELECT x FROM t WHERE id = 1 + abs(random()) % 10000`, Reads: 19, Connections: 4, Synchronous: "normal"},
	{Name: "large", About: "values of 256 KiB, 200 of them rewritten at random",
		Setup: `INSERT INTO t (x) SELECT randomblob(262144) FROM generate_series(1, 200)`,
		Write: `UPDATE t SET x = randomblob(262144) WHERE id = 1 + abs(random()) % 200`, Connections: 1, Synchronous: "normal"},
	{Name: "hot", About: "the same 100 rows of 10,000 rewritten at random",
		Setup: small, Write: `UPDATE t SET x = randomblob(100) WHERE id = 1 + abs(random()) % 100`, Connections: 1, Synchronous: "normal"},
	{Name: "idle", About: "1,000 databases that are open, and nothing is written",
		Setup: insert, Connections: 1, Synchronous: "normal", Databases: 1000,
		Rounds: 1, SkipRestore: true, Settle: 45 * time.Second, Duration: time.Minute, Peers: []string{"plain", "walvfs", "litestream"}},
	{Name: "first-snapshot", About: "single-row commits while a database gets its replica, which is as large as -size says",
		Write: insert, Connections: 1, Synchronous: "normal", Size: 10 << 30, Asked: true,
		Rounds: 1, Duration: time.Minute, Peers: []string{"plain", "walvfs"}},
	{Name: "cost", About: "a row inserted and two of 64 MiB rewritten at random, once a second",
		Setup: costSetup, Write: costWrite, Connections: 1, Synchronous: "normal", Rate: 1,
		Cost: true, Asked: true, Rounds: 1, Duration: 10 * time.Minute, Peers: []string{"walvfs", "litestream"}},
	{Name: "cost-quiet", About: "the same once a minute",
		Setup: costSetup, Write: costWrite, Connections: 1, Synchronous: "normal", Rate: 1.0 / 60,
		Cost: true, Asked: true, Rounds: 1, Duration: 10 * time.Minute, Peers: []string{"walvfs", "litestream"}},
}

// due returns when transaction n, counted from 0, is due after the start.
//
// A pace of whole seconds would always meet Litestream, which looks once a second, at the
// same point of that second, and a run's lag would be a matter of luck. So the pace
// wanders: multiples of the golden ratio fill the drift evenly, for any number of
// transactions. It also begins that much later: the filled database was uploaded just
// now, and the next upload waits for the interval after that upload.
func (w workload) due(n int64) time.Duration {
	if w.Rate <= 0 {
		return 0
	}
	_, part := math.Modf(float64(n) * math.Phi)
	return time.Duration(math.Round(float64(n)/w.Rate*float64(time.Second))) + w.Drift + time.Duration(part*float64(w.Drift))
}

// idle reports whether the application does nothing.
func (w workload) idle() bool { return w.Write == "" && w.SpeedTest == 0 }
