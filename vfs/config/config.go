// Package config reads walvfs.yml, the file that names the replica of each database.
//
//	access-key-id: AKIAxxxxxxxxxxxxxxxx        # of all s3:// replicas below;
//	secret-access-key: ${WALVFS_SECRET}       # without them, the AWS SDK's own chain
//
//	dbs:
//	  - path: /var/lib/my-app/data.db
//	    replicas:
//	      - url: s3://bucket/data
//	        endpoint: https://storage.example.com
//	        region: eu-central-1
//	        force-path-style: true
//	        sse-kms-key-id: alias/my-app
//	        storage-class: STANDARD_IA
//	  - path: /var/lib/my-app/users.db
//	    replica:
//	      url: gs://bucket/users
//
// A database has one replica, as "replica" or as a list of one in "replicas". Endpoint,
// region and the other keys of a replica may also be at the top level, for all replicas
// that do not set them. The keys that say how objects are stored have the names of the
// parameters of an S3 URL; sse-customer-key is the base64 of a key of 32 bytes.
//
// In values, ${NAME} and $NAME are environment variables, which must be set, and $$
// is a dollar sign. The content of a variable is taken literally: it is not parsed as YAML.
//
// # Litestream's file
//
// The package also reads a configuration file of Litestream 0.5. It takes the keys that
// mean the same in walvfs, and ignores the keys that only concern Litestream's own process.
// Other keys are of three kinds:
//
//   - keys with which the replica would differ from Litestream's, or could not be read: an
//     error
//   - keys that matter to a writer, and that walvfs does not follow: [DB.CheckWrite] returns
//     an error, and a program that only reads can continue
//   - keys that neither Litestream nor walvfs knows, which Litestream ignores: an error,
//     which suggests the key that may have been meant
//
// Errors never contain a value, because it may be a secret.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage"
)

// DefaultPath is the default path of the configuration file.
const DefaultPath = "/etc/walvfs.yml"

// EnvPath is the environment variable with another path.
const EnvPath = "WALVFS_CONFIG"

// Config is the content of a configuration file.
type Config struct {
	Path string // of the file; empty if there is none
	DBs  []DB

	// Defaults are the settings at the top of the file, for each s3:// replica that does
	// not set them.
	Defaults storage.Options
}

// DB is a database and its replica.
type DB struct {
	Path    string // absolute
	URL     string // of the replica
	Options storage.Options

	// Interval is Litestream's sync-interval: the least time between two uploads. Zero:
	// the file does not set it; negative: none.
	Interval time.Duration

	// Policy sets levels and retention. A field is zero if the file does not set it.
	Policy shipper.Policy

	// RestoreIfMissing is Litestream's restore-if-db-not-exists.
	RestoreIfMissing bool

	writing []error
}

// CheckWrite returns an error for keys that matter to the replica's writer and that
// walvfs does not follow. A program that only reads the replica can ignore it.
func (db DB) CheckWrite() error { return errors.Join(db.writing...) }

// Load reads a configuration file.
func Load(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return parse(path, data, os.LookupEnv)
}

// Find reads the file that explicit names or, if that is empty, the environment variable
// WALVFS_CONFIG or, if that is empty too, [DefaultPath]. If no file exists at
// DefaultPath, the configuration is empty.
func Find(explicit string) (*Config, error) {
	return find(explicit, DefaultPath, os.Getenv)
}

func find(explicit, byDefault string, getenv func(string) string) (*Config, error) {
	if named := cmp.Or(explicit, getenv(EnvPath)); named != "" {
		return Load(named)
	}
	c, err := Load(byDefault)
	if errors.Is(err, fs.ErrNotExist) {
		return &Config{}, nil
	}
	return c, err
}

// DB finds a database by its file, which need not exist. The path may be relative, and
// lead through other symbolic links than the path in the configuration.
func (c *Config) DB(path string) (DB, bool) {
	name, err := absolute(path)
	if err != nil {
		return DB{}, false
	}
	for _, db := range c.DBs {
		if db.Path == name {
			return db, true
		}
	}
	name = resolve(name)
	for _, db := range c.DBs {
		if resolve(db.Path) == name {
			return db, true
		}
	}
	return DB{}, false
}

// Replica returns the options of a replica URL: the options of the database that has it,
// or the settings at the top.
func (c *Config) Replica(url string) storage.Options {
	for _, db := range c.DBs {
		if db.URL == url {
			return db.Options
		}
	}
	if !strings.HasPrefix(url, "s3://") {
		return storage.Options{}
	}
	return c.Defaults
}
