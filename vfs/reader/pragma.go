package reader

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/walvfs/walvfs/format"
	"github.com/walvfs/walvfs/shipper/replica"
	"github.com/walvfs/walvfs/vfs/internal/uri"
)

var _ vfs.FilePragma = (*conn)(nil)

// Pragma answers the PRAGMAs of a replica, and refuses the PRAGMAs that a reader cannot
// support. go-sqlite3 passes names in lower case.
func (c *conn) Pragma(name, value string) (string, error) {
	value = strings.Trim(value, `'" `)
	switch {
	case strings.HasPrefix(name, "walvfs_"):
		answer, err := c.ask(name, value)
		switch {
		case err != nil && c.interrupt().Err() != nil:
			return "", sqlite3.INTERRUPT
		case err != nil:
			err = fmt.Errorf("walvfs: PRAGMA %s: %w", uri.Shown(name), err)
		}
		return answer, err
	case name == "locking_mode" && strings.EqualFold(value, "exclusive"):
		return "", errors.New("walvfs: locking_mode=exclusive would keep the connection at one TXID (name the state to read with txid or timestamp)")
	case name == "journal_mode" && value != "":
		return "", errors.New("walvfs: a replica is read-only and has no journal: remove journal_mode")
	}
	return "", sqlite3.NOTFOUND
}

const latest = "latest" // as a value: follow the newest state

func (c *conn) ask(name, value string) (string, error) {
	switch name {
	case "walvfs_txid":
		if value != "" {
			if err := c.moveTo(value, func(t *replica.Target) (err error) { t.TXID, err = parseTXID(value); return err }); err != nil {
				return "", err
			}
		}
		return c.view.txid.String(), nil
	case "walvfs_time":
		if value != "" {
			if err := c.moveTo(value, func(t *replica.Target) (err error) {
				t.Timestamp, err = replica.ParseMoment(value, time.Now())
				return err
			}); err != nil {
				return "", err
			}
		}
		return c.view.time.UTC().Format(time.RFC3339Nano), nil
	case "walvfs_wait_txid":
		return c.waitFor(value)
	}
	if value != "" {
		return "", errors.New("it takes no value")
	}
	switch name {
	case "walvfs_verify":
		return c.verify()
	case "walvfs_lag":
		return fmt.Sprintf("%.3f", c.status().Lag), nil
	case "walvfs_error":
		if c.cause == nil {
			return "none", nil // an empty answer would have no column
		}
		return c.cause.Error(), nil
	case "walvfs_status":
		b, err := json.Marshal(c.status())
		return string(b), err
	}
	return "", errors.New("it is unknown (a replica has walvfs_error, walvfs_lag, walvfs_status, walvfs_time, walvfs_txid, walvfs_verify and walvfs_wait_txid)")
}

var errReads = errors.New("the connection cannot be moved while a transaction reads (end the transaction, or close the rows of its query)")

func (c *conn) moveTo(value string, parse func(*replica.Target) error) error {
	var t replica.Target
	if !strings.EqualFold(value, latest) {
		if err := parse(&t); err != nil {
			return err
		}
	}
	if c.lock != vfs.LOCK_NONE {
		return errReads
	}
	return c.move(t)
}

// waitFor returns once the connection sees a TXID or a later one.
func (c *conn) waitFor(value string) (string, error) {
	txid, err := parseTXID(value)
	switch {
	case err != nil:
		return "", err
	case c.view.txid >= txid:
		return c.view.txid.String(), nil
	case c.lock != vfs.LOCK_NONE:
		return "", errReads
	case c.fixed:
		return "", fmt.Errorf("the connection stays at TXID %s (PRAGMA walvfs_txid=latest has it go on)", c.view.txid)
	}
	for deadline := time.Now().Add(c.source.timeout); ; c.sleep(waitInterval) {
		ctx, cancel := c.context()
		v, err := c.source.newest(ctx, min(c.interval, waitInterval))
		cancel()
		if err != nil {
			return "", err
		}
		c.view = v
		if c.view.txid >= txid {
			return c.view.txid.String(), nil
		}
		if err := c.interrupt().Err(); err != nil {
			return "", err
		}
		if time.Now().Before(deadline) {
			continue
		}
		if err := c.source.lastError(); err != nil {
			return "", err
		}
		return "", fmt.Errorf("the replica has TXID %s after %s", c.view.txid, c.source.timeout)
	}
}

// sleep returns early when the connection is interrupted.
func (c *conn) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-c.interrupt().Done():
	}
}

// waitInterval is how often, at most, a connection that waits for a TXID asks the store.
const waitInterval = 50 * time.Millisecond

// A status is the answer of PRAGMA walvfs_status.
type status struct {
	Replica  string      `json:"replica"` // the URL, without secrets
	TXID     format.TXID `json:"txid"`    // the TXID that the connection sees
	Time     time.Time   `json:"time"`    // of the TXID
	Fixed    bool        `json:"fixed"`   // the connection stays at the TXID
	Lag      float64     `json:"lag"`     // seconds since the TXID was last known to be the newest
	Newest   format.TXID `json:"newest"`  // the newest known TXID, 0 before the first question
	PageSize uint32      `json:"page_size"`
	Pages    uint32      `json:"pages"`           // size of the database
	Cache    int64       `json:"cache_bytes"`     // of all connections to the replica
	Error    string      `json:"error,omitempty"` // of the last question for a newer state
}

func (c *conn) status() status {
	s := c.source
	s.mu.Lock()
	defer s.mu.Unlock()
	st := status{
		Replica: s.replica.String(), TXID: c.view.txid, Time: c.view.time.UTC(), Fixed: c.fixed,
		PageSize: c.view.pageSize, Pages: c.view.commit, Cache: s.pages.cache.bytes(),
	}
	since := c.view.time
	if s.latest != nil {
		st.Newest = s.latest.txid
		if s.latest.txid == c.view.txid {
			since = s.asked
		}
	}
	st.Lag = max(0, time.Since(since).Seconds())
	if s.err != nil {
		st.Error = s.err.Error()
	}
	return st
}

func (s *source) lastError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
