package shipper

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/storage"
)

// Errors that interrupt or stop replication.
var (
	// ErrFenced: another writer holds the next TXID.
	ErrFenced = errors.New("another writer has taken over the replica")

	// ErrDiverged: the replica's newest file is not known to be part of this database's
	// past. Continuing would mix two histories.
	ErrDiverged = errors.New("the replica holds another history than this database")

	// ErrVanished: files that the replica had, and that retention keeps, are gone.
	ErrVanished = errors.New("files of the replica have vanished (check the bucket's lifecycle rules, and what else deletes objects there)")

	// ErrNoFencing: the store cannot distinguish two writers.
	ErrNoFencing = storage.ErrNoCondition

	// ErrClosed: the database was closed before the replica had everything.
	ErrClosed = errors.New("replication was stopped")
)

// ErrorKinds are the values of [ErrorKind].
var ErrorKinds = []string{"permission", "bucket", "condition", "fenced", "diverged", "corrupt", "vanished", "disk", "timeout", "network", "store", "local"}

// ErrorKind returns the kind of a replication error, in one word that is suitable for a
// metric.
func ErrorKind(err error) string {
	_, ofStore := errors.AsType[*storage.Error](err)
	_, ofNet := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, ErrFenced):
		return "fenced"
	case errors.Is(err, ErrDiverged):
		return "diverged"
	case errors.Is(err, ErrNoFencing), errors.Is(err, storage.ErrNoCondition):
		return "condition"
	case errors.Is(err, storage.ErrNoBucket):
		return "bucket"
	case ofStore && errors.Is(err, storage.ErrPermission):
		return "permission"
	case errors.Is(err, format.ErrCorrupt):
		return "corrupt"
	case errors.Is(err, ErrVanished):
		return "vanished"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "disk"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	case ofNet:
		return "network"
	case ofStore:
		return "store"
	}
	return "local"
}
