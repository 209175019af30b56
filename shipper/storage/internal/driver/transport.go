package driver

import (
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Limits of the transport shared by all stores of a service.
const (
	hostConns = 128              // kept per host: as many concurrent requests open no new connection
	idleConns = 4 * hostConns    // kept in total: a bucket may be a host of its own
	idleTime  = 90 * time.Second // then the connection and its goroutines end

	// pingAfter is how long nothing may arrive on an HTTP/2 connection, which carries the
	// requests of all stores: a request that times out does not end the connection, and the
	// others would continue to use a dead peer. Google's own libraries do the same.
	pingAfter   = 31 * time.Second
	pingTimeout = 15 * time.Second
)

// Tune configures a transport for storage. It bounds each step in which no data moves; it
// does not limit the time for a body, because a large upload may take long.
func Tune(t *http.Transport) {
	t.TLSHandshakeTimeout = 10 * time.Second
	t.ResponseHeaderTimeout = time.Minute // after sending the whole request
	t.MaxIdleConnsPerHost = hostConns
	t.MaxIdleConns = idleConns
	t.IdleConnTimeout = idleTime
	t.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout}
}

// A Transport is an http.Transport that can be closed. After that, an SDK may still send
// a request of its own, for example to cancel an upload, and no caller would close its
// connection.
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

// Close makes requests fail from now on, and closes idle connections.
func (t *Transport) Close() {
	t.closed.Store(true)
	t.CloseIdleConnections()
}
