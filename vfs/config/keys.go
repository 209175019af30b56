package config

import (
	"errors"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/walvfs/walvfs/shipper/storage"
)

// settings are the keys that a replica and the top of the file may set.
type settings struct {
	options   storage.Options
	pathStyle *bool
	bucket    string
	interval  time.Duration
	policy    policy
	writing   []error
}

const (
	otherStore = "it is of a kind of store that walvfs does not have: it has file, s3 and gs"
)

// settingKeys returns the keys that a replica and the top of the file have in common.
func (p *parser) settingKeys(s *settings) keys {
	k := keys{
		"access-key-id":     {read: p.text(&s.options.AccessKeyID)},
		"secret-access-key": {read: p.text(&s.options.SecretAccessKey)},
		"endpoint":          {read: p.text(&s.options.Endpoint)},
		"region":            {read: p.text(&s.options.Region)},
		"bucket":            {read: p.text(&s.bucket)},
		"force-path-style":  {read: p.boolean(func(b bool) { s.pathStyle = &b })},
		"sync-interval":     {read: p.duration(&s.interval)},

		"storage-class":         {read: p.text(&s.options.StorageClass)},
		"sse":                   {read: p.text(&s.options.SSE)},
		"sse-kms-key-id":        {read: p.text(&s.options.SSEKMSKeyID)},
		"sse-customer-key":      {read: p.text(&s.options.SSECustomerKey)},
		"sse-customer-key-path": {read: p.text(&s.options.SSECustomerKeyPath)},
		"request-payer":         {read: p.text(&s.options.RequestPayer)},
		"age":                   {refuse: "encrypted replicas cannot be read, nor can Litestream 0.5 read them"},
	}
	// S3 has one algorithm for customer keys.
	k["sse-customer-algorithm"] = key{read: convert(p, onlyAES256, "AES256", func(struct{}) {})}
	// A connection without verification must not carry a secret.
	k["skip-verify"] = key{read: func(name string, n *yaml.Node) {
		p.boolean(func(skip bool) {
			if skip {
				p.fail(n.Line, "%s: walvfs verifies certificates: name the server's in the environment variable AWS_CA_BUNDLE", name)
			}
		})(name, n)
	}}
	ignore(k, // how Litestream sends requests and checks itself
		"sign-payload", "sign-accept-encoding", "require-content-md5", "put-object-content-md5",
		"part-size", "concurrency", "max-sync-ltx-files", "auto-recover", "validation-interval")
	for _, name := range []string{
		"account-name", "account-key", "sas-token", // Azure
		"host", "user", "password", "key-path", "concurrent-writes", "host-key", // SFTP
		"webdav-url", "webdav-username", "webdav-password",
		"jwt", "seed", "creds", "nkey", "username", "token", "tls", "root-cas", "client-cert", "client-key", // NATS
		"max-reconnects", "reconnect-wait", "timeout",
	} {
		k[name] = key{refuse: otherStore}
	}
	return k
}

// topKeys returns the keys at the top of the file.
func (p *parser) topKeys(s *settings, dbs func(*yaml.Node)) keys {
	k := p.settingKeys(s)
	k["dbs"] = key{read: p.sequence(dbs)}
	p.policyKeys(k, &s.policy, &s.writing)
	k["validation"] = key{write: "walvfs does not validate by itself: run walvfs verify regularly"}
	k["exec"] = key{write: "walvfs runs inside the application and starts no program"}
	for _, name := range []string{"heartbeat-url", "heartbeat-interval"} {
		k[name] = key{write: "walvfs sends no heartbeat: watch its status"}
	}
	ignore(k, // how Litestream's process runs
		"l0-retention-check-interval", "addr", "socket", "mcp-addr", "logging", "verify-compaction",
		"shutdown-timeout", "shutdown-sync-timeout", "shutdown-sync-interval")
	return k
}

// dbKeys returns the keys of a database.
func (p *parser) dbKeys(db *DB, path *string, own *policy, replica, replicas func(string, *yaml.Node)) keys {
	k := keys{
		"path":                     {read: p.text(path)},
		"replica":                  {read: replica},
		"replicas":                 {read: replicas},
		"restore-if-db-not-exists": {read: p.boolean(func(b bool) { db.RestoreIfMissing = b })},
		"snapshot":                 {read: p.snapshot(own, &db.writing)},
	}
	for _, name := range []string{"dir", "pattern", "recursive", "watch"} {
		k[name] = key{refuse: "directories are not searched for databases: name each one by its path"}
	}
	ignore(k, // how Litestream watches and checkpoints the database
		"meta-path", "meta-dir", "monitor-interval", "checkpoint-interval", "busy-timeout",
		"min-checkpoint-page-count", "max-checkpoint-page-count", "truncate-page-n", "max-sync-wal-bytes")
	return k
}

// replicaKeys returns the keys of a replica.
func (p *parser) replicaKeys(r *replica) keys {
	k := p.settingKeys(&r.settings)
	k["type"] = key{read: p.text(&r.kind)}
	k["url"] = key{read: p.text(&r.url)}
	k["path"] = key{read: p.text(&r.path)}
	ignore(k, "name", // and the retention keys of versions before 0.5
		"retention", "retention-check-interval", "snapshot-interval")
	return k
}

func onlyAES256(s string) (none struct{}, err error) {
	if s != "AES256" {
		err = errors.New("unknown algorithm")
	}
	return none, err
}

func ignore(k keys, names ...string) {
	for _, name := range names {
		k[name] = key{}
	}
}

// placeOf says where a misplaced key belongs, or returns "".
func placeOf(name string) string {
	var p parser
	switch {
	case has(p.topKeys(&settings{}, nil), name):
		return "at the top of the file"
	case has(p.dbKeys(&DB{}, nil, &policy{}, nil, nil), name):
		return "to a database, under dbs"
	case has(p.replicaKeys(&replica{}), name):
		return "to a replica, under replicas of a database"
	}
	return ""
}

func has(k keys, name string) bool {
	_, ok := k[name]
	return ok
}
