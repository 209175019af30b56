package vfs

import (
	"context"
	"fmt"

	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
)

// restoreFirst restores a database before SQLite opens it, if the settings say so and
// there is a reason. It fails if the store cannot be reached, and if the database cannot
// be replaced: the application would continue from an older state. Until the caller calls
// opened, other connections that may restore the database wait.
func restoreFirst(path string, cfg settings, create bool) (opened func(), err error) {
	if cfg.restore == RestoreNever {
		return func() {}, nil
	}
	mine, err := turns.take(path)
	if err != nil {
		return nil, err
	}
	if err = tryRestore(path, cfg, create); err == nil {
		return func() { turns.end(mine, nil) }, nil
	}
	err = fmt.Errorf("restore=%s: %w", cfg.restore, err)
	turns.end(mine, err)
	return nil, err
}

func tryRestore(path string, cfg settings, create bool) error {
	if databases.isOpen(path) {
		return nil
	}
	_, presence, err := restore.Look(path)
	if err != nil || presence == restore.Missing && !create || presence == restore.Present && cfg.restore != RestoreIfBehind {
		return err
	}
	ctx := context.Background()
	store, err := storage.Open(ctx, cfg.replica, cfg.storage)
	if err != nil {
		return err
	}
	defer store.Close()
	r := replacement{path: path, cfg: cfg, store: store, log: cfg.logger.With("db", path, "replica", store.String())}
	return r.run(ctx)
}
