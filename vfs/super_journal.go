package vfs

import (
	"errors"
	"os"

	"github.com/ncruces/go-sqlite3"
)

var errSuperJournal = errors.New("walvfs: write refused: durability=sync cannot confirm a transaction over two or more other databases in rollback mode (put them into WAL mode, or use a transaction of its own)")

// refuseSuper refuses a transaction that ends with a super-journal: SQLite ignores what
// CommitPhaseTwo returns then, so a commit that the replica does not confirm would be
// acknowledged. It runs before the commit frame is written. A super-journal needs two or
// more databases with a rollback journal in the transaction, and a main database with a
// name.
//
// https://sqlite.org/atomiccommit.html#_multi_file_commit
func (f *mainFile) refuseSuper() error {
	conn, _ := f.conn.(*sqlite3.Conn)
	if conn == nil || conn.DBName(3) == "" { // main, temp, and two more
		return nil
	}
	journals := 0
	for i := 0; ; i++ {
		name := conn.DBName(i)
		if name == "" {
			break
		}
		file := conn.Filename(name)
		if i == 0 && (file == nil || file.String() == "") {
			return nil
		}
		if file == nil || file.String() == "" || conn.TxnState(name) != sqlite3.TXN_WRITE {
			continue
		}
		if info, err := os.Stat(file.Journal()); err == nil && info.Size() > 0 {
			journals++
		}
	}
	if journals < 2 {
		return nil
	}
	return f.fail(sqlite3.IOERR_WRITE, errSuperJournal)
}
