package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/vfs/config"
)

// replicaArg names the replica in every command.
type replicaArg struct {
	Replica string `arg:"" help:"The replica's URL, such as s3://bucket/app or file:///backup/app, or a database whose replica the configuration file names."`

	Config string `env:"WALVFS_CONFIG" placeholder:"FILE" help:"The configuration file. By default /etc/walvfs.yml, if the replica is not named by its URL."`
}

// check finds mistakes in the URL before the command does anything. kong reports a
// missing argument.
func (r *replicaArg) check() error {
	if r.Replica == "" || !isURL(r.Replica) {
		return nil
	}
	return storage.Check(r.Replica)
}

// open opens the replica. It makes no request: an error is one of the command line or the
// configuration. If a database names the replica, path is the database's.
func (r *replicaArg) open(a *app) (store storage.Store, path string, err error) {
	url, opts, path, err := r.resolve()
	if err != nil {
		return nil, "", err
	}
	store, err = storage.Open(a.ctx, url, opts)
	if err != nil {
		return nil, "", &usageError{err: err}
	}
	return store, path, nil
}

// resolve looks the replica up. With a URL, it reads the configuration only if --config
// or WALVFS_CONFIG names it: a file in /etc must not make a URL fail, or make it use other
// credentials than those in the environment.
func (r *replicaArg) resolve() (url string, opts storage.Options, path string, err error) {
	if isURL(r.Replica) {
		if r.Config == "" {
			return r.Replica, opts, "", nil
		}
		c, err := config.Load(r.Config)
		if err != nil {
			return "", opts, "", &usageError{err: err}
		}
		return r.Replica, c.Replica(r.Replica), "", nil
	}
	c, err := config.Find(r.Config)
	if err != nil {
		return "", opts, "", &usageError{err: err}
	}
	db, ok := c.DB(r.Replica)
	if !ok {
		return "", opts, "", unknownReplica(r.Replica, c)
	}
	return db.URL, db.Options, db.Path, nil
}

func unknownReplica(name string, c *config.Config) error {
	why := fmt.Sprintf("%s does not name it", filepath.ToSlash(c.Path))
	if c.Path == "" {
		why = "there is no " + config.DefaultPath
	}
	return &usageError{
		err:  fmt.Errorf("%s is neither a URL nor a database with a known replica: %s", name, why),
		hint: "expected file:///dir, s3://bucket/path or gs://bucket/path, or a database in the configuration file",
	}
}

var scheme = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9+.-]+:`) // longer than a drive letter

// isURL reports whether s is a URL, and not a path.
func isURL(s string) bool {
	return scheme.MatchString(s) && !strings.HasPrefix(s, "sqlite://") && !strings.HasPrefix(s, "sqlite3://")
}
