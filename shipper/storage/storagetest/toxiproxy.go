package storagetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Toxiproxy is a replica behind a proxy that disturbs connections: it handles bytes and
// directions, not requests. The original replica still bypasses it.
//
// It is https://github.com/Shopify/toxiproxy, a separate program, so that a hung
// connection hangs for the system, too. Bytes that it holds back may reach the store
// after the client is gone.
type Toxiproxy struct {
	*Replica        // behind the proxy
	listen   string // host:port of the proxy
	upstream string // host:port of the store

	mu     sync.Mutex
	server *server // nil if not running
	faults int     // added since the last Up
}

// A Direction is one direction of a connection.
type Direction string

// The directions of a connection.
const (
	Requests Direction = "upstream"
	Answers  Direction = "downstream"
)

// A Fault affects the bytes of connections in one direction.
type Fault struct {
	kind       string
	attributes map[string]int64
}

func (f Fault) String() string { return f.kind }

// Latency delays all bytes, with jitter.
func Latency(delay, jitter time.Duration) Fault {
	return Fault{"latency", map[string]int64{"latency": delay.Milliseconds(), "jitter": jitter.Milliseconds()}}
}

// Hang drops all bytes, and closes the connection after some time, or when the fault ends
// if that is 0. If it drops a request, nothing arrives; if it drops an answer, the
// request was served.
func Hang(after time.Duration) Fault {
	return Fault{"timeout", map[string]int64{"timeout": after.Milliseconds()}}
}

// ResetPeer resets connections some time after the first byte.
func ResetPeer(after time.Duration) Fault {
	return Fault{"reset_peer", map[string]int64{"timeout": after.Milliseconds()}}
}

// LimitData closes connections after that many bytes: half a request, half an answer.
func LimitData(bytes int64) Fault {
	return Fault{"limit_data", map[string]int64{"bytes": bytes}}
}

// Bandwidth limits connections to a rate in KB per second.
func Bandwidth(rate int64) Fault {
	return Fault{"bandwidth", map[string]int64{"rate": rate}}
}

// Toxiproxy returns the same replica behind a proxy, without faults at first. The proxy
// ends with the test.
func (r *Replica) Toxiproxy(t testing.TB) *Toxiproxy {
	t.Helper()
	target, err := url.Parse(r.Endpoint)
	if err != nil || r.Endpoint == "" {
		t.Fatalf("no server to put a proxy before: %q", r.Endpoint)
	}
	p := &Toxiproxy{listen: "127.0.0.1:0", upstream: target.Host}
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	p.Replica = r.at("http://" + p.listen)
	return p
}

// start starts a server with one proxy, without faults, at the proxy's previous address,
// if any.
func (p *Toxiproxy) start() (err error) {
	p.faults = 0
	if p.server, err = toxiproxyServer.start(); err != nil {
		return err
	}
	var created struct{ Listen string }
	err = callToxiproxy(http.MethodPost, "http://"+p.server.addr+"/proxies",
		map[string]any{"name": proxyName, "listen": p.listen, "upstream": p.upstream}, &created)
	if err != nil {
		p.stop()
		return err
	}
	p.listen = created.Listen
	return nil
}

func (p *Toxiproxy) stop() {
	if p.server != nil {
		p.server.stop()
		p.server = nil
	}
}

// restart ends all connections and faults. Toxiproxy 2.12 may wait for ever to change the
// faults of a connection that has just closed: a link that writes no more waits for the
// lock that the change holds, and the change waits for a toxic that sends its bytes to
// the link. Only ending the program helps then.
func (p *Toxiproxy) restart() error {
	p.stop()
	return p.start()
}

const proxyName = "proxy"

func (p *Toxiproxy) call(method, path string, body, answer any) error {
	if p.server == nil {
		return errEnded
	}
	return callToxiproxy(method, "http://"+p.server.addr+"/proxies/"+proxyName+path, body, answer)
}

// at returns the same replica at another endpoint.
func (r *Replica) at(endpoint string) *Replica {
	moved := *r
	moved.Endpoint, moved.Options.Endpoint = endpoint, endpoint
	moved.Env = nil
	for _, kv := range r.Env {
		moved.Env = append(moved.Env, strings.ReplaceAll(kv, r.Endpoint, endpoint))
	}
	return &moved
}

// Down closes all connections and refuses new ones, until Up.
func (p *Toxiproxy) Down() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.call(http.MethodPatch, "", map[string]any{"enabled": false}, nil); err != nil {
		p.stop()
	}
	return nil
}

// Up ends all faults. Delayed bytes continue.
func (p *Toxiproxy) Up() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for ; p.faults > 0; p.faults-- {
		if err := p.call(http.MethodDelete, fmt.Sprintf("/toxics/fault-%d", p.faults), nil, nil); err != nil {
			return p.restart()
		}
	}
	if err := p.call(http.MethodPatch, "", map[string]any{"enabled": true}, nil); err != nil {
		return p.restart()
	}
	return nil
}

// Add applies a fault to a share of the connections, 0 to 1, until Up. That includes open
// connections.
func (p *Toxiproxy) Add(d Direction, share float64, f Fault) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	toxic := map[string]any{
		"name": fmt.Sprintf("fault-%d", p.faults+1), "type": f.kind, "stream": d, "toxicity": share, "attributes": f.attributes,
	}
	err := p.call(http.MethodPost, "/toxics", toxic, nil)
	if err != nil {
		if err = p.restart(); err != nil {
			return err
		}
		toxic["name"] = "fault-1"
		err = p.call(http.MethodPost, "/toxics", toxic, nil)
	}
	if err == nil {
		p.faults++
	}
	return err
}

var toxiproxyServer = spec{
	tool: toxiproxy,
	args: func(addr, _ string) []string {
		host, port, _ := strings.Cut(addr, ":")
		return []string{"-host", host, "-port", port}
	},
	ready: func(s *server) error { return callToxiproxy(http.MethodGet, "http://"+s.addr+"/version", nil, nil) },
}

// callToxiproxy sends a request to the server's API and leaves no connection open,
// which would look like a leak to the tests.
func callToxiproxy(method, url string, body, answer any) error {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(body); err != nil {
		return err
	}
	req, err := http.NewRequest(method, url, &b)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 3 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode >= 300:
		return fmt.Errorf("toxiproxy: %s %s: %s: %s", method, url, resp.Status, text)
	case answer == nil:
		return nil
	}
	return json.Unmarshal(text, answer)
}
