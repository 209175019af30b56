// Package tests contains the tests of package vfs that need real stores, through the
// drivers of cloud stores, and Litestream as the second opinion on their content. They
// are a package of their own because "go mod tidy" adds everything that the tests of a
// program's imported packages need.
package tests

import (
	"testing"

	_ "github.com/ncruces/go-sqlite3/driver"
	"go.uber.org/goleak"

	"github.com/walvfs/walvfs/shipper/storage/storagetest"
	"github.com/walvfs/walvfs/vfs/internal/dbtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(storagetest.WithTools(m)) }

// Helpers that the tests of package vfs also need are in package dbtest.
var (
	newReplica       = dbtest.NewReplica
	uri              = dbtest.URI
	open             = dbtest.Open
	exec             = dbtest.Exec
	query            = dbtest.Query
	readFile         = dbtest.ReadFile
	checkpoint       = dbtest.Checkpoint
	eventually       = dbtest.Eventually
	settled          = dbtest.Settled
	hurried          = dbtest.Hurried
	restored         = dbtest.Restored
	requireEqual     = dbtest.RequireEqual
	lastTXID         = dbtest.LastTXID
	save             = dbtest.Save
	newRun           = dbtest.NewRun
	bankSchema       = dbtest.BankSchema
	transact         = dbtest.Transact
	maintain         = dbtest.Maintain
	requireBank      = dbtest.RequireBank
	expected         = dbtest.Expected
	newVFS           = dbtest.NewVFS
	requireForgotten = dbtest.RequireForgotten
	errInjected      = dbtest.ErrInjected
)

const (
	spilling = dbtest.Spilling
	manyRows = dbtest.ManyRows
)

type (
	logLines   = dbtest.LogLines
	replicaURL = dbtest.ReplicaURL
)
