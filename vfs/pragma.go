package vfs

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ncruces/go-sqlite3/util/vfsutil"

	"github.com/walvfs/walvfs/vfs/internal/uri"
)

// Pragma answers walvfs's own pragmas, and refuses pragmas that would hide the database
// from replication. SQLite itself sends a pragma at the beginning of each write
// transaction, and go-sqlite3 passes names in lower case.
func (f *mainFile) Pragma(name, value string) (string, error) {
	if !f.internal {
		switch {
		case strings.HasPrefix(name, "walvfs_"):
			return f.ask(name, unquoted(value))
		case name == "journal_mode", name == "locking_mode":
			if err := refuse(name, unquoted(value)); err != nil {
				return "", err
			}
		case slices.Contains(uri.Keys, name) && value != "" && !slices.Contains(f.db.cfg.parameters, name):
			return "", fmt.Errorf("walvfs: PRAGMA %s asks for encryption, and the replica would be plain text (remove it, or open the database without vfs=replicated)", name)
		case name == "synchronous":
			f.db.noteUnsynced(unquoted(value))
		}
	}
	return vfsutil.WrapPragma(f.File, name, value)
}

func unquoted(value string) string { return strings.Trim(value, `'" `) }

func (f *mainFile) ask(name, value string) (string, error) {
	if value != "" && name != "walvfs_durability" {
		return "", fmt.Errorf("walvfs: PRAGMA %s takes no value", uri.Shown(name))
	}
	switch name {
	case "walvfs_status":
		b, err := json.Marshal((&DB{f.db}).Status())
		return string(b), err
	case "walvfs_txid":
		return f.db.ship.Status().Tip.TXID.String(), nil
	case "walvfs_error":
		if f.cause == nil {
			return "none", nil // an empty answer would have no column
		}
		return f.cause.Error(), nil
	case "walvfs_wait":
		ctx, cancel := f.patience()
		defer cancel()
		txid, err := f.awaitTXID(ctx)
		if err != nil {
			return "", fmt.Errorf("walvfs: %w", err)
		}
		return txid.String(), nil
	case "walvfs_durability":
		switch strings.ToLower(value) {
		case "":
		case "sync":
			f.sync = true
		case "async":
			f.sync = false
		default:
			return "", fmt.Errorf("walvfs: PRAGMA walvfs_durability=%s: expected async or sync", uri.Shown(value))
		}
		if f.sync {
			return "sync", nil
		}
		return "async", nil
	}
	return "", fmt.Errorf("walvfs: unknown PRAGMA %s (walvfs has walvfs_durability, walvfs_error, walvfs_status, walvfs_txid and walvfs_wait)", uri.Shown(name))
}

func refuse(name, value string) error {
	switch {
	case name == "journal_mode" && value != "" && !strings.EqualFold(value, "wal"):
		return fmt.Errorf("walvfs: a replicated database stays in WAL mode: remove journal_mode=%s, or open the database without vfs=replicated", uri.Shown(value))
	case name == "locking_mode" && strings.EqualFold(value, "exclusive"):
		return errors.New("walvfs: locking_mode=exclusive would lock replication out: remove it, or open the database without vfs=replicated")
	}
	return nil
}
