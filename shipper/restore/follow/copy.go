package follow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"
	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/restore/internal/disk"
)

// place is the location of the copy.
type place struct {
	path  string
	hooks disk.Hooks
}

// step changes names on the disk.
func (p place) step(do func() error) error { return p.hooks.Do(do) }

// syncDir makes the names in the copy's directory durable.
func (p place) syncDir() error {
	if name, err := p.hooks.SyncDir(p.path); err != nil {
		return &restore.Error{Op: "sync", Name: name, Err: disk.Pathless(err)}
	}
	return nil
}

// followed is an open copy. Its locks are those of a go-sqlite3 connection that never
// runs a statement and only provides its file.
type followed struct {
	place place
	state *followFile
	conn  *sqlite3.Conn
	file  vfs.File
	disk  disk.File // the same file
}

// sqliteFile is a file that SQLite opened.
type sqliteFile struct{ vfs.File }

func (f sqliteFile) Sync() error { return f.File.Sync(vfs.SYNC_FULL) }

func openFollowed(p place, s *followFile) (*followed, error) {
	uri := url.URL{Scheme: "file", Opaque: (&url.URL{Path: filepath.ToSlash(p.path)}).EscapedPath()}
	conn, err := sqlite3.OpenFlags(uri.String(), sqlite3.OPEN_READWRITE|sqlite3.OPEN_URI)
	if err != nil {
		return nil, &restore.Error{Op: "open", Name: p.path, Err: err}
	}
	pointer, err := conn.FileControl("main", sqlite3.FCNTL_FILE_POINTER)
	file, ok := pointer.(vfs.File)
	if err == nil && !ok {
		err = errors.New("SQLite has no file for it")
	}
	if err != nil {
		conn.Close()
		return nil, &restore.Error{Op: "open", Name: p.path, Err: err}
	}
	for {
		wrapped, ok := file.(vfs.FileUnwrap)
		if !ok {
			break
		}
		file = wrapped.Unwrap()
	}
	return &followed{place: p, state: s, conn: conn, file: file, disk: p.hooks.Wrap(p.path, sqliteFile{file})}, nil
}

func (c *followed) close() error { return c.conn.Close() }

func (c *followed) fail(op string, err error) error {
	if _, ok := errors.AsType[*restore.Error](err); ok || err == nil || errors.Is(err, errBusy) {
		return err
	}
	return &restore.Error{Op: op, Name: c.place.path, Err: disk.Pathless(err)}
}

func (c *followed) written(why string) error {
	return &restore.Error{Op: "follow to", Name: c.place.path, Err: fmt.Errorf("%w: %s", ErrWritten, why), Hint: "to make the copy anew, force it"}
}

func (c *followed) journalName() string { return c.place.path + "-journal" }

// pollLock is the time between two attempts to get a lock.
const pollLock = 2 * time.Millisecond

// errBusy: other connections hold conflicting locks.
var errBusy = errors.New("readers keep their locks")

// lock takes a lock, waiting until the deadline. It fails with errBusy.
func (c *followed) lock(level vfs.LockLevel, deadline time.Time) error {
	for {
		err := c.file.Lock(level)
		switch {
		case err == nil:
			return nil
		case err.Error() != sqlite3.BUSY.Error(): // the VFS's own type, which is not exported
			return c.fail("lock", err)
		case time.Now().After(deadline):
			return errBusy
		}
		time.Sleep(pollLock)
	}
}

// locked runs do with RESERVED held: no other connection writes, and readers continue. It
// first finishes an interrupted step.
func (c *followed) locked(wait time.Duration, do func(deadline time.Time) error) error {
	deadline := time.Now().Add(wait)
	defer c.file.Unlock(vfs.LOCK_NONE)
	if err := c.lock(vfs.LOCK_SHARED, deadline); err != nil {
		return err
	}
	if err := c.lock(vfs.LOCK_RESERVED, deadline); err != nil {
		return err
	}
	if err := c.recover(deadline); err != nil {
		return err
	}
	return do(deadline)
}

// settle determines the position of the copy, after finishing an interrupted step.
func (c *followed) settle() error {
	for wait := firstWait; ; wait = min(2*wait, mostWait) {
		err := c.locked(wait, func(time.Time) error { return c.check() })
		if !errors.Is(err, errBusy) {
			return err
		}
		if wait == mostWait {
			return &restore.Error{Op: "lock", Name: c.place.path, Err: disk.ErrInUse, Hint: "an older state of it is being read, or it is being written to"}
		}
	}
}

// recover applies a journal that was committed and not removed.
func (c *followed) recover(deadline time.Time) error {
	f, err := os.Open(c.journalName())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return c.fail("open the journal of", err)
	}
	defer f.Close()
	to := c.state.At
	if c.state.Next != nil {
		to = *c.state.Next
	}
	nonce, err := readNonce(f)
	if err == nil && nonce == c.state.At.Nonce { // a power loss undid its removal
		to = c.state.At
	}
	if err != nil || nonce != to.Nonce {
		return c.written("there is a journal of another program")
	}
	if err := c.lock(vfs.LOCK_EXCLUSIVE, deadline); err != nil {
		return err
	}
	if err := c.apply(f); err != nil {
		return err
	}
	c.state.At, c.state.Next = to, nil
	return nil
}

// check compares the copy with the state written last. RESERVED is held.
func (c *followed) check() error {
	if f, ok := c.file.(vfs.FileHasMoved); ok {
		if moved, err := f.HasMoved(); err != nil || moved {
			return c.written("another file took its place")
		}
	}
	switch {
	case disk.Exists(c.place.path + "-wal"):
		return c.written("it has a write-ahead log")
	case hasSidecar(c.place.path):
		return c.written("an application opened it to replicate it")
	}
	header := make([]byte, 100)
	if _, err := c.file.ReadAt(header, 0); err != nil && err != io.EOF {
		return c.fail("read", err)
	}
	size, err := c.file.Size()
	if err != nil {
		return c.fail("read", err)
	}
	next := c.state.Next
	switch {
	case next != nil && !c.uncommitted(next.Nonce) && next.is(header, size):
		c.state.At, c.state.Next = *next, nil // SQLite finished it
	case !c.state.At.is(header, size):
		return c.written("it is not as it was left at TXID " + c.state.At.TXID.String())
	case next != nil: // it was not begun, and will not be
		state := c.state.followState
		state.Next = nil
		return c.state.save(state)
	}
	return nil
}

// uncommitted reports whether a journal did not get its name. Another, incomplete journal
// of the next step may exist.
func (c *followed) uncommitted(nonce uint32) bool {
	f, err := os.Open(c.place.path + applySuffix)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	defer f.Close()
	found, err := readNonce(f)
	return err == nil && found == nonce
}

// How long new readers are blocked, at first and at most, while the follower waits for a
// reader to finish.
const (
	firstWait = 250 * time.Millisecond
	mostWait  = 5 * time.Second
)

// commit takes the copy to another position. If a reader does not finish in time, it
// fails with errBusy and changes nothing.
func (c *followed) commit(ctx context.Context, j *journal, next position, wait time.Duration) error {
	return c.locked(wait, func(deadline time.Time) error {
		if err := c.check(); err != nil {
			return err
		}
		if j.leads == nil {
			if err := c.finish(j, &next); err != nil {
				return c.fail("write the journal of", err)
			}
		}
		next = *j.leads
		if err := c.lock(vfs.LOCK_EXCLUSIVE, deadline); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		// From here on, do not return before the copy is at one of the two positions, or a
		// journal will take it there.
		state := c.state.followState
		state.Next = &next
		if err := c.place.step(func() error { return c.state.save(state) }); err != nil {
			return err
		}
		if err := c.place.step(func() error { return os.Rename(j.file.Name(), c.journalName()) }); err != nil {
			return c.fail("commit the journal of", err)
		}
		if err := c.place.syncDir(); err != nil {
			return err
		}
		if err := c.apply(j.file); err != nil {
			return err
		}
		c.state.At, c.state.Next = next, nil
		return nil
	})
}

// finish completes a journal for the copy in its current state. No other connection
// changes the copy while RESERVED is held, and check finds out whether it is the same
// when RESERVED is held again.
func (c *followed) finish(j *journal, next *position) error {
	at := c.state.At
	next.Nonce, next.Counter = j.nonce, at.Counter+1
	first := j.first
	if first == nil {
		first = make([]byte, at.PageSize)
		if _, err := c.file.ReadAt(first, 0); err != nil && err != io.EOF {
			return err
		}
	}
	if err := next.stamp(first); err != nil {
		return err
	}
	if err := j.finish(*next, first); err != nil {
		return err
	}
	j.leads = next
	return nil
}

// apply writes a committed journal's pages, and removes it. EXCLUSIVE is held. If it
// fails, the journal remains and will be applied again.
func (c *followed) apply(j io.ReaderAt) error {
	size, err := replay(j, func(pages []byte, offset int64) error {
		return c.place.step(func() error {
			_, err := c.disk.WriteAt(pages, offset)
			return err
		})
	})
	if err != nil {
		return c.fail("write", err)
	}
	if err := c.place.step(func() error { return c.disk.Truncate(size) }); err != nil {
		return c.fail("truncate", err)
	}
	if err := c.place.step(func() error { return c.disk.Sync() }); err != nil {
		return c.fail("sync", err)
	}
	// The name's removal need not be durable: applying the journal again changes nothing,
	// until the next journal replaces it.
	if err := c.place.step(func() error { return os.Remove(c.journalName()) }); err != nil {
		return c.fail("remove the journal of", err)
	}
	return nil
}
