package driver

import (
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Limits of the transport that all stores of a service share.
const (
	hostConns = 128              // kept of one host: as many requests at a time open no connection anew
	idleConns = 4 * hostConns    // kept in all: a bucket may be a host of its own
	idleTime  = 90 * time.Second // then nothing is left of a connection, no goroutine either

	// pingAfter is how long nothing may arrive on a connection of HTTP/2, which has
	// all stores' requests: one that times out does not end the connection, and the
	// others would go on asking a peer that is gone. Google's own libraries have it so.
	pingAfter   = 31 * time.Second
	pingTimeout = 15 * time.Second
)

// Tune fits a transport to storage. Each step in which nothing moves is bounded; the
// time for a body is not limited here, for a large upload may take long.
func Tune(t *http.Transport) {
	t.TLSHandshakeTimeout = 10 * time.Second
	t.ResponseHeaderTimeout = time.Minute // after the whole request was sent
	t.MaxIdleConnsPerHost = hostConns
	t.MaxIdleConns = idleConns
	t.IdleConnTimeout = idleTime
	t.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout}
}

// A Transport is one that can be closed. An SDK may still send a request of its own then,
// as one that cancels an upload, whose connection nobody would close.
type Transport struct {
	*http.Transport
	closed atomic.Bool
}

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.closed.Load() {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, net.ErrClosed
	}
	return t.Transport.RoundTrip(req)
}

// Close has requests fail from now on, and closes the connections that have none.
func (t *Transport) Close() {
	t.closed.Store(true)
	t.CloseIdleConnections()
}
