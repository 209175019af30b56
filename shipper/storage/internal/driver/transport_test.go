package driver

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestTuneIdle: a connection is kept for the next request, but not for ever.
func TestTuneIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials, open atomic.Int32
		transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			dials.Add(1)
			open.Add(1)
			go func() {
				defer open.Add(-1)
				for r := bufio.NewReader(there); ; {
					if _, err := http.ReadRequest(r); err != nil {
						return
					}
					io.WriteString(there, "HTTP/1.1 204 No Content\r\n\r\n")
				}
			}()
			return here, nil
		}}
		Tune(transport)
		client := &http.Client{Transport: transport}
		get := func(wantDials int32) {
			t.Helper()
			resp, err := client.Get("http://host/")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			synctest.Wait()
			if dials.Load() != wantDials || open.Load() != 1 {
				t.Errorf("%d dials, %d open", dials.Load(), open.Load())
			}
		}
		get(1)
		time.Sleep(idleTime - time.Second)
		get(1)
		time.Sleep(idleTime + time.Second)
		synctest.Wait()
		if open.Load() != 0 {
			t.Error("the connection is still open")
		}
		get(2)
		transport.CloseIdleConnections()
	})
}

// TestTuneGone: an HTTP/2 connection to a dead peer is closed before its requests time
// out one by one.
func TestTuneGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gone atomic.Bool
		transport := &http.Transport{Protocols: new(http.Protocols), DialContext: func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			go func() {
				io.Copy(io.Discard, there) // until the connection is closed
				gone.Store(true)
			}()
			return here, nil
		}}
		transport.Protocols.SetUnencryptedHTTP2(true)
		Tune(transport)
		start := time.Now()
		_, err := (&http.Client{Transport: transport}).Get("http://host/")
		synctest.Wait()
		if took := time.Since(start); err == nil || !gone.Load() || took > pingAfter+pingTimeout {
			t.Errorf("after %s: %v, closed %v", took, err, gone.Load())
		}
	})
}

// A request after the end of a client opens no connection.
func TestClosedTransport(t *testing.T) {
	var dials atomic.Int32
	transport := &Transport{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		dials.Add(1)
		return nil, io.ErrUnexpectedEOF
	}}}
	client := &http.Client{Transport: transport}
	if _, err := client.Get("http://host/"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	transport.Close()
	if _, err := client.Get("http://host/"); !errors.Is(err, net.ErrClosed) || dials.Load() != 1 {
		t.Errorf("%v after %d dials", err, dials.Load())
	}
}
