package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// absolute returns the path of a database file as Litestream reads it: without the prefix
// that other programs put before a path, and with ~ for the home directory.
func absolute(path string) (string, error) {
	for _, prefix := range []string{"sqlite3://", "sqlite://"} {
		path = strings.TrimPrefix(path, prefix)
	}
	if path == "" {
		return "", errors.New("the path is empty")
	}
	if rest, ok := strings.CutPrefix(path, "~"); ok && (rest == "" || os.IsPathSeparator(rest[0])) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", errors.New("~ stands for the home directory, which is unknown")
		}
		return filepath.Join(home, rest), nil
	}
	return filepath.Abs(path)
}

// resolve follows symbolic links as far as files exist.
func resolve(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	dir, name := filepath.Split(path)
	if dir = filepath.Clean(dir); dir == path || name == "" {
		return path
	}
	return filepath.Join(resolve(dir), name)
}
