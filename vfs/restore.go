package vfs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
)

// restores are under way, by path: connections that open at once share one.
var restores singleflight.Group

// restoreFirst restores a database before SQLite opens it, if it is asked for and
// there is a reason. A store that cannot be reached is an error: the application
// would go on from a state that is not the newest.
func restoreFirst(path string, cfg settings, create bool) error {
	if !cfg.ifMissing || databases.find(path) != nil {
		return nil
	}
	missing := !exists(path)
	if missing && !create || !missing && !cfg.ifBehind {
		return nil
	}
	_, err, _ := restores.Do(path, func() (any, error) {
		if exists(path) == missing || databases.find(path) != nil {
			return nil, nil // somebody has done it meanwhile
		}
		return nil, cfg.restoreNow(path, missing)
	})
	return err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, os.ErrNotExist)
}

func (s settings) restoreNow(path string, missing bool) error {
	ctx := context.Background()
	store, err := storage.Open(ctx, s.replica, s.storage)
	if err != nil {
		return err
	}
	defer store.Close()
	log := s.logger.With("db", path, "replica", store.String())
	if missing {
		return restoreMissing(ctx, path, store, log)
	}
	return s.restoreBehind(ctx, path, store, log)
}

// restoreMissing restores a database that does not exist. Where there is provably
// nothing to restore, it begins empty.
func restoreMissing(ctx context.Context, path string, store storage.Store, log *slog.Logger) error {
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
	tellRestored(log, "restored", result)
	return nil
}

func tellRestored(log *slog.Logger, what string, r restore.Result) {
	log.Warn(what, "txid", r.TXID, "time", r.Time, "pages", r.Pages, "took", r.Duration)
}

// keptSuffix makes the name of a database that the replica's state has replaced.
const keptSuffix = "-walvfs-behind"

// restoreBehind puts the replica's newest state in the place of a database that is
// behind it, unless another process has it open.
func (s settings) restoreBehind(ctx context.Context, path string, store storage.Store, log *slog.Logger) error {
	var err error
	for deadline := time.Now().Add(s.lockTimeout); ; time.Sleep(lockPoll) {
		if err = replaceBehind(ctx, path, store, log); !inUse(err) || time.Now().After(deadline) {
			break
		}
	}
	switch {
	case inUse(err):
		return nil // if it is another process that replicates it, the open fails
	case err != nil:
		return fmt.Errorf("walvfs: restore=if-behind: %w", err)
	}
	return nil
}

func inUse(err error) bool { return errors.Is(err, restore.ErrInUse) || errors.Is(err, errLocked) }

func replaceBehind(ctx context.Context, path string, store storage.Store, log *slog.Logger) error {
	lock, err := lockDatabase(path) // it stays as it is found
	if err != nil {
		return err
	}
	defer lock.Close()
	why, err := behind(ctx, path, store)
	if why == "" || err != nil {
		return err
	}
	log.Warn("the database is behind its replica and will be replaced", "reason", why, "kept", path+keptSuffix)
	result, err := restore.Restore(ctx, store, path, restore.Options{Force: true, Keep: path + keptSuffix, Logger: log})
	if err == nil {
		tellRestored(log, "rolled forward", result)
	}
	return err
}
