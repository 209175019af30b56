package storagetest

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
)

// Proxy returns the same replica behind a proxy. The handler sees every request and may
// change it, answer it, or pass it on to next and change the answer. The proxy signs
// requests to an S3 server again, so that changed headers do not break the signature.
//
// A panic with [http.ErrAbortHandler] breaks the connection.
func (r *Replica) Proxy(t testing.TB, handle func(w http.ResponseWriter, req *http.Request, next http.Handler)) *Replica {
	t.Helper()
	target, err := url.Parse(r.Endpoint)
	if err != nil || r.Endpoint == "" {
		t.Fatalf("no server to put a proxy before: %q", r.Endpoint)
	}
	// A kept connection might become idle only after the test, which would look like a leak.
	transport := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	next := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.Out.Host = target.Host
			p.Out.Header.Del("Accept-Encoding")
			if strings.HasPrefix(r.URL, "s3:") {
				if s, err := s3Server(); err == nil {
					s.sign(p.Out)
				}
			}
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { handle(w, req, next) }))
	t.Cleanup(func() {
		proxy.CloseClientConnections()
		proxy.Close()
		transport.CloseIdleConnections()
	})
	behind := *r
	behind.Endpoint, behind.Options.Endpoint = proxy.URL, proxy.URL
	behind.Env = nil
	for _, kv := range r.Env {
		behind.Env = append(behind.Env, strings.ReplaceAll(kv, r.Endpoint, proxy.URL))
	}
	return &behind
}
