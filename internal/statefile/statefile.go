// Package statefile keeps small durable files next to a database, and creates every
// file there.
//
// The state file holds what this copy of the database remembers of its replica, and
// which pages the replica does not have. It is one file with two slots, so that no
// other name ever appears next to the database:
//
//	app.db
//	app.db-walvfs
//	     0   walvfs-state 2 generation 7 seed 5d… offset 8192 length 431 sum 1b2f9c3d crc 77c0e1a9
//	  4096   walvfs-state 2 generation 8 seed 90… offset 77824 length 502 sum 9a117c42 crc 0be55a10
//	  8192   {"node":…,"replica":…,"file":{"inode":…},"acked":{…}}    slot of generation 7: a whole value,
//	         {"epoch":…,"scanned":…,"dirty":…}                        the Record and its State
//	         5f0e3aa1 {"more":true,"dirty":…}                         lines that were appended to it,
//	         77c0e1a9 {"more":true,"dirty":…}                         each one a State
//	         01c4d7f2 end                                             the end mark
//	 77824   {"node":…                                                slot of generation 8
//
// A header gives the offset of its slot and the CRC-32C of the whole value. A header is
// one sector, and slots begin at sectors, so that a torn write damages at most one of
// them. A new value is written to space that the slot in force does not use; then its
// header replaces the other slot's, and the file is synced. If a crash loses or tears any
// of these writes, the new slot's sums show it, and the slot in force before is whole.
//
// A line is appended over the end mark, together with a new one. The CRC of a line
// covers all lines before it and the header, whose seed is random: the remains of an
// older slot never pass for a line of this slot. Without an end mark, the last lines
// are lost or torn. The state is unknown then; the marks of the valid lines hold.
//
// The slot in force is the newest slot that was written for the database file now at
// the path. A restore writes the record of the new database before it renames
// the file, and after a crash either database finds its own.
//
// Correctness never depends on the file: every use checks it against the database and
// the replica's tip, and assumes nothing that this does not prove.
package statefile

import "errors"

// The suffixes of all files that walvfs keeps next to a database.
const (
	Suffix        = "-walvfs"         // the state file
	SuffixRestore = "-walvfs-restore" // a restored database before it has its name
	SuffixOld     = "-walvfs-old"     // the old database while a restore replaces it
	SuffixBehind  = "-walvfs-behind"  // the database that restore=if-behind replaced
	SuffixFollow  = "-walvfs-follow"  // the position of a copy that follows a replica
	SuffixApply   = "-walvfs-apply"   // the changes to such a copy before they apply
)

// Suffixes lists all suffixes.
var Suffixes = []string{Suffix, SuffixRestore, SuffixOld, SuffixBehind, SuffixFollow, SuffixApply}

// ErrInvalid means that a file exists, but holds no whole value.
var ErrInvalid = errors.New("not a valid state file")
