package config

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"sync"
)

// EnvBase is the environment variable with a base URL for the replicas of all databases.
const EnvBase = "WALVFS_REPLICA"

// ErrNoReplica means that neither the environment nor the configuration file names a
// replica.
var ErrNoReplica = errors.New("there is no replica for this database (add &replica=URL to its URI, set " + EnvBase + " to a base URL, or name the database in walvfs.yml)")

// Locate finds the replica of a database whose URI does not name it. If the environment
// variable [EnvBase] is set, the replica's URL is that URL with the escaped name of the
// database's file appended, and fromBase is true. Otherwise the file of [Find] names the
// replica by the database's path; a process reads that file once. Locate fails with
// [ErrNoReplica] if neither names a replica.
func Locate(path string) (db DB, fromBase bool, err error) {
	if base := os.Getenv(EnvBase); base != "" {
		db.Path = path
		db.URL, err = belowBase(base, filepath.Base(path))
		return db, true, err
	}
	file, err := findOnce(os.Getenv(EnvPath))
	if err != nil {
		return DB{}, false, err
	}
	db, ok := file.DB(path)
	if !ok {
		return DB{}, false, ErrNoReplica
	}
	return db, false, nil
}

// belowBase returns the URL of a file's replica below a base URL.
func belowBase(base, file string) (string, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme == "" || u.Opaque != "" {
		return "", errors.New(EnvBase + " is not a URL: expected file:///dir, s3://bucket/path or gs://bucket/path") // the URL may contain a secret
	}
	return u.JoinPath(url.PathEscape(file)).String(), nil
}

// found caches the configuration files that were read, by the path in [EnvPath]: a process
// may open thousands of databases.
var found sync.Map

func findOnce(named string) (*Config, error) {
	if c, ok := found.Load(named); ok {
		return c.(*Config), nil
	}
	c, err := Find(named)
	if err == nil {
		found.Store(named, c)
	}
	return c, err
}
