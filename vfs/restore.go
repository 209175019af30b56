package vfs

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sync/singleflight"

	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
)

// restores are under way, by path: connections that open at once share one.
var restores singleflight.Group

// restoreMissing restores a database that does not exist, before SQLite opens it.
// Where there is provably nothing to restore, it begins empty; a store that cannot
// be reached is an error.
func restoreMissing(path string, cfg settings) error {
	if exists(path) {
		return nil
	}
	_, err, _ := restores.Do(path, func() (any, error) {
		if exists(path) {
			return nil, nil // somebody has done it meanwhile
		}
		return nil, cfg.restoreNow(path)
	})
	return err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, os.ErrNotExist)
}

func (s settings) restoreNow(path string) error {
	ctx := context.Background()
	store, err := storage.Open(ctx, s.replica, s.storage)
	if err != nil {
		return err
	}
	defer store.Close()
	log := s.logger.With("db", path, "replica", store.String())
	result, err := restore.Restore(ctx, store, path, restore.Options{Logger: log})
	switch {
	case errors.Is(err, restore.ErrNoReplica):
		log.Info("nothing to restore: the replica is empty")
		return nil
	case errors.Is(err, restore.ErrExists) && exists(path):
		return nil // another process was faster
	case err != nil:
		return fmt.Errorf("walvfs: restore=if-missing: %w", err)
	}
	log.Warn("restored", "txid", result.TXID, "time", result.Time, "pages", result.Pages, "took", result.Duration)
	return nil
}
