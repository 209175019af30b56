package vfs

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/internal/shipping"
	"github.com/walvfs/walvfs/shipper"
)

// Errors with which a transaction fails because of its replica. Test for them with
// [errors.Is]. SQLite passes on only the number, so the error's text is that of its
// primary code, "disk I/O error": [DB.Explain] adds the cause.
const (
	// ErrUnconfirmed: the transaction is committed in this database, visible to all
	// connections and not undone, but the replica has not confirmed it. It will be in the
	// next upload. Running it again would apply it twice. It is an [sqlite3.IOERR].
	//
	// The first commit of a new file cannot fail; the connection's next statement fails
	// in its place. Until such a file is in WAL mode, writes fail with this error before
	// they change anything: the unconfirmed commit is that first one.
	ErrUnconfirmed = sqlite3.ExtendedErrorCode(sqlite3.IOERR) | ownCode

	// ErrLag: the transaction is refused, and changed nothing, because the replica
	// lacks a commit that is older than max_lag. It is an [sqlite3.IOERR]: only after
	// such an error does SQLite roll back all of a transaction that it has begun to
	// write.
	ErrLag = sqlite3.ExtendedErrorCode(sqlite3.IOERR) | (ownCode + 1<<8)

	// ErrFenced: the transaction is refused, and changed nothing, because the
	// replica belongs to another writer, and on_fenced=readonly. It is an
	// [sqlite3.IOERR].
	ErrFenced = sqlite3.ExtendedErrorCode(sqlite3.IOERR) | (ownCode + 2<<8)
)

// ownCode is far from SQLite's own extended codes.
//
// https://sqlite.org/rescode.html#extrc
const ownCode = 0x70 << 8

// Cause returns why the connection's last transaction that failed with [ErrUnconfirmed],
// [ErrLag] or [ErrFenced] failed; nil if none did. PRAGMA walvfs_error returns its text.
// [DB.Explain] explains an error of any connection.
func Cause(conn *sqlite3.Conn) error {
	for f := range mainFiles(conn) {
		if f.cause != nil {
			return f.cause
		}
	}
	return nil
}

// WaitConn returns when the replica has the last transaction that a connection has
// committed, and all before it: at once, if the replica already has them. It does not
// force more uploads than the load needs: waiting callers share uploads. It fails with
// [ErrNotReplicated] if the connection has no replicated database, and otherwise with
// [ErrUnconfirmed] and its cause: [ErrFenced] and others if replication has halted, and
// the last error of replication if ctx ends first.
//
// Get a connection of database/sql by [database/sql.Conn.Raw], whose driver connection
// has a method Raw.
func WaitConn(ctx context.Context, conn *sqlite3.Conn) error {
	replicated := false
	for f := range mainFiles(conn) {
		replicated = true
		if err := f.wait(ctx); err != nil {
			return fmt.Errorf("walvfs: %s: %w", f.db.path, coded{identified(err), ErrUnconfirmed})
		}
	}
	if !replicated {
		return fmt.Errorf("walvfs: the connection: %w", ErrNotReplicated)
	}
	return nil
}

// TXID is [WaitConn] for a connection's main database, and returns a TXID that contains
// the connection's commits: a reader that sees this TXID, or a newer TXID, sees what the
// connection has written. It is the newest TXID of the replica, so a reader need not wait
// for it:
//
//	txid, err := vfs.TXID(ctx, conn)
//	reader.Exec("PRAGMA walvfs_wait_txid='" + txid.String() + "'")
//
// It blocks, because a commit has no TXID before the replica has its upload. Several commits
// become one TXID; until an upload is acknowledged, another writer, or an earlier upload that
// arrives late, may get its TXID. If the connection has committed nothing, TXID waits
// only while the replica's newest TXID is unknown.
//
// Its errors are those of WaitConn, [ErrNotReplicated] if the main database is not replicated, and
// [ErrNoTXID] if nothing was ever committed. For an attached database, PRAGMA walvfs_wait does
// the same.
func TXID(ctx context.Context, conn *sqlite3.Conn) (format.TXID, error) {
	f, ok := mainFileOf(conn, "main")
	if !ok {
		return 0, fmt.Errorf("walvfs: the connection's main database: %w", ErrNotReplicated)
	}
	txid, err := f.awaitTXID(ctx)
	switch {
	case err != nil:
		return 0, fmt.Errorf("walvfs: %s: %w", f.db.path, coded{identified(err), ErrUnconfirmed})
	case txid == 0:
		return 0, fmt.Errorf("walvfs: %s: %w", f.db.path, ErrNoTXID)
	}
	return txid, nil
}

// ErrNoTXID: the database has no commit yet, so its replica has no TXID.
var ErrNoTXID = errors.New("the replica has no TXID before the first commit")

// awaitTXID waits for the connection's commits, and returns the replica's newest TXID, 0
// if it has none.
func (f *mainFile) awaitTXID(ctx context.Context) (format.TXID, error) {
	if err := f.wait(ctx); err != nil {
		return 0, err
	}
	if txid := f.db.ship.Tip().TXID; txid > 0 {
		return txid, nil
	}
	// The shipper has not listed the store yet, or the replica has no TXID.
	if err := f.db.ship.Wait(ctx, shipping.Commit{}); err != nil {
		return 0, err
	}
	return f.db.ship.Tip().TXID, nil
}

// mainFiles yields the files of a connection's replicated databases.
func mainFiles(conn *sqlite3.Conn) iter.Seq[*mainFile] {
	return func(yield func(*mainFile) bool) {
		for i := 0; ; i++ {
			name := conn.DBName(i)
			if name == "" {
				return
			}
			if main, ok := mainFileOf(conn, name); ok && !yield(main) {
				return
			}
		}
	}
}

// mainFileOf returns the file of a connection's database if the database is replicated.
func mainFileOf(conn *sqlite3.Conn, schema string) (*mainFile, bool) {
	pointer, err := conn.FileControl(schema, sqlite3.FCNTL_FILE_POINTER)
	if err != nil {
		return nil, false // temp, which has no file yet
	}
	file, _ := pointer.(vfs.File)
	return vfsutil.UnwrapFile[*mainFile](file)
}

// wait waits for the connection's commits since it last waited.
func (f *mainFile) wait(ctx context.Context) error {
	if f.committed == 0 && !f.unsettled {
		return nil
	}
	commit := f.db.end()
	if !f.unsettled { // otherwise the transaction may be newer
		commit.By = f.committed
	}
	if err := f.db.ship.Wait(ctx, commit); err != nil {
		return err
	}
	f.committed, f.first = 0, nil
	return nil
}

// confirm makes a transaction wait, and fail if the replica does not confirm it.
func (f *mainFile) confirm() error {
	if err := f.confirmed(); err != nil {
		return f.fail(ErrUnconfirmed, fmt.Errorf("walvfs: committed locally, but not confirmed by the replica: %w", err))
	}
	return nil
}

// confirmed waits, and returns why the replica has not confirmed a transaction.
func (f *mainFile) confirmed() error {
	began := time.Now()
	ctx, cancel := f.patience()
	defer cancel()
	ctx, done := f.db.pinned.while(ctx, f.db)
	defer done()
	err := context.Cause(ctx)
	if err == nil {
		err = f.wait(ctx)
	}
	f.db.emit(shipper.Confirmed{Took: time.Since(began), Err: err})
	return identified(err)
}

// fail returns an error with which SQLite fails with a code, and remembers the cause.
func (f *mainFile) fail(code sqlite3.ExtendedErrorCode, cause error) error {
	return vfs.SystemError(f.because(code, cause), code)
}

// because remembers the cause of a transaction's failure with a code.
func (f *mainFile) because(code sqlite3.ExtendedErrorCode, cause error) error {
	f.cause = coded{cause, code}
	f.db.causes.Store(code, f.cause)
	return f.cause
}

// patience returns the context of a commit that waits: it ends when the connection is
// interrupted, or after sync_timeout. An earlier interrupt does not count: a commit that
// SQLite makes in spite of it undoes something, such as a savepoint.
func (f *mainFile) patience() (context.Context, context.CancelFunc) {
	ctx := context.Background()
	if f.conn != nil {
		if interrupt := f.conn.GetInterrupt(); interrupt != nil && interrupt.Err() == nil {
			ctx = interrupt
		}
	}
	timeout := f.syncTimeout
	if timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, timeout, fmt.Errorf("sync_timeout=%s is over", timeout))
}

// end returns where the newest transaction ends, if that is known.
func (d *database) end() shipping.Commit {
	at, ok := d.ledger.Boundary()
	if !ok || at.MxFrame == 0 {
		return shipping.Commit{}
	}
	return shipping.Commit{Salt: at.Salt, End: format.FrameOffset(at.PageSize, at.MxFrame+1)}
}

// refuse fails a write if the replica is fenced or too far behind, and the settings say
// so.
func (f *mainFile) refuse() error {
	d, cause, code := f.db, error(nil), ErrLag
	switch lag := d.ship.Lag(); {
	case d.cfg.onFenced == OnFencedReadonly && d.ship.Fenced():
		code = ErrFenced
		cause = fmt.Errorf("walvfs: write refused (on_fenced=readonly): %w", d.ship.Status().Err)
	case d.cfg.maxLag > 0 && lag > d.cfg.maxLag:
		cause = fmt.Errorf("walvfs: write refused: the replica is %s behind (max_lag=%s)", lag.Round(time.Millisecond), d.cfg.maxLag)
		if err := d.ship.Status().Err; err != nil {
			cause = fmt.Errorf("%w: %w", cause, err)
		}
	default:
		return nil
	}
	return f.fail(code, cause)
}

// mayRefuse reports whether refuse may fail a write.
func (d *database) mayRefuse() bool { return d.cfg.maxLag > 0 || d.cfg.onFenced == OnFencedReadonly }
