// Package vfstest is the conformance suite of the replicating VFS. It tests what must
// hold on every engine that runs SQLite below the VFS, and on every file system.
//
// An engine is a version of [github.com/ncruces/go-sqlite3]: since v0.33 it is SQLite
// translated to Go, and up to v0.32 it was SQLite's Wasm build in a runtime. The VFS
// relies on SQLite's order of writes, locks and callbacks, and on the way in which
// go-sqlite3 passes them on. So a program that is pinned to another version than walvfs's
// own can run the suite in its module:
//
//	import (
//		_ "github.com/ncruces/go-sqlite3/embed" // only up to v0.32
//		"github.com/walvfs/walvfs/vfs/vfstest"
//	)
//
//	func TestConformance(t *testing.T) { vfstest.Run(t) }
//
// Each test opens a database with vfs=replicated, uses it as applications do, and
// restores it from its replica: the result must equal the database, page for page, and
// pass integrity_check. Most replicas are in memory, where a test can make them fail. The
// suite uses only the exported names that both generations of go-sqlite3 have.
package vfstest

import "testing"

// Run runs the suite, which takes about half a minute.
func Run(t *testing.T) {
	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"Converge", testConverge},
		{"PageSizeIsTheApplications", testPageSizeIsTheApplications},
		{"Spill", testSpill},
		{"Synchronous", testSynchronous},
		{"Checksums", testChecksums},
		{"Quiet", testQuiet},
		{"NotBusy", testNotBusy},

		{"Resets", testResets},
		{"Growth", testGrowth},
		{"NoNeedlessResync", testNoNeedlessResync},
		{"Shapes", testShapes},
		{"Prefix", testPrefix},

		{"Refused", testRefused},
		{"ExistingDatabase", testExistingDatabase},
		{"ReadOnly", testReadOnly},
		{"StaysInWALMode", testStaysInWALMode},
		{"Reopen", testReopen},
		{"PersistWAL", testPersistWAL},
		{"OddNames", testOddNames},
		{"PassThrough", testPassThrough},
		{"BackupInto", testBackupInto},
		{"AttachDetach", testAttachDetach},
		{"Temporary", testTemporary},

		{"Restart", testRestart},
		{"Sync", testSync},
		{"DurabilityPragma", testDurabilityPragma},
		{"Unconfirmed", testUnconfirmed},
		{"Wait", testWait},
	} {
		t.Run(test.name, test.run)
	}
}
