package vfs

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sync/singleflight"

	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/sidecar"
	"github.com/walvfs/walvfs/shipper/storage"
)

// restores are under way, by path: connections that open at once share one.
var restores singleflight.Group

// restoreFirst restores a database, before SQLite opens it, if it is to be. Where
// there is provably nothing to restore, it begins empty; a store that cannot be
// reached is an error.
func restoreFirst(path string, cfg settings) error {
	if !cfg.wantsRestore(path) {
		return nil
	}
	_, err, _ := restores.Do(path, func() (any, error) {
		if !cfg.wantsRestore(path) {
			return nil, nil // somebody has done it meanwhile
		}
		return nil, cfg.restoreNow(path)
	})
	return err
}

// wantsRestore reports whether a database is missing, or behind its replica.
func (s settings) wantsRestore(path string) bool {
	switch s.restore {
	case RestoreIfMissing:
		return !exists(path)
	case RestoreIfBehind:
		return !exists(path) || databases.find(path) == nil && diskLost(path)
	}
	return false
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, os.ErrNotExist)
}

// diskLost reports whether the WAL lacks commits that were synced and then sent to
// the replica.
func diskLost(path string) bool {
	side, err := loadOwn(path)
	if err != nil || side.State == nil {
		return false
	}
	_, err = prove(side.State, path)
	return errors.Is(err, errDiskLost)
}

// loadOwn reads the sidecar of a database, if it is not a copy's.
func loadOwn(path string) (side sidecar.Sidecar, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return side, err
	}
	if side, err = sidecar.Load(path); err != nil {
		return side, err
	}
	if device, inode := sidecar.Identify(info); side.Device != device || side.Inode != inode {
		return side, fmt.Errorf("the sidecar of %s belongs to a copy", path)
	}
	return side, nil
}

// restoreNow replaces a database that is missing or behind. One that is behind has
// nothing that the replica lacks: its WAL ends before what was sent.
func (s settings) restoreNow(path string) error {
	ctx := context.Background()
	store, err := storage.Open(ctx, s.replica, s.storage)
	if err != nil {
		return err
	}
	defer store.Close()
	log := s.logger.With("db", path, "replica", store.String())
	behind := exists(path)
	if behind {
		if ours, err := s.isOurs(ctx, path, store); !ours || err != nil {
			return err
		}
	}
	result, err := restore.Restore(ctx, store, path, restore.Options{Logger: log, Force: behind})
	switch {
	case errors.Is(err, restore.ErrNoReplica) && !behind:
		log.Info("nothing to restore: the replica is empty")
		return nil
	case errors.Is(err, restore.ErrExists) && exists(path):
		return nil // another process was faster
	case err != nil:
		return fmt.Errorf("walvfs: restore=%s: %w", s.restore, err)
	}
	log.Warn("restored", "behind", behind, "txid", result.TXID, "time", result.Time, "pages", result.Pages, "took", result.Duration)
	return nil
}

// isOurs reports whether the replica's tip is what this copy of the database sent.
// If it is not, the database opens as it is, and its replication halts.
func (s settings) isOurs(ctx context.Context, path string, store storage.Store) (bool, error) {
	side, err := loadOwn(path)
	if err != nil || side.Replica != store.String() {
		return false, err
	}
	m := memory{Sidecar: side}
	tip, err := shipper.FindTip(ctx, store, 0)
	if err != nil || tip == nil {
		return false, err
	}
	return m.knows(shipper.Position{TXID: tip.MaxTXID, Checksum: tip.Checksum}), nil
}
