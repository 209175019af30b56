package compare

import (
	"cmp"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Kind is a kind of request, as price lists distinguish them.
type Kind string

// The kinds of requests.
const (
	Put    Kind = "put"    // a whole object
	Part   Kind = "part"   // one of the requests that write an object in parts
	List   Kind = "list"   // a page of a listing
	Get    Kind = "get"    // an object's content or attributes
	Delete Kind = "delete" // of one object or several
)

// NoLevel is the level of a request that is not for a single LTX file.
const NoLevel = -1

// Count is the traffic of one kind of request for files of one level.
type Count struct {
	Kind     Kind  `json:"kind"`
	Level    int   `json:"level"` // of the LTX file, or NoLevel
	Requests int64 `json:"requests"`
	Sent     int64 `json:"sent"`     // bytes of request bodies
	Received int64 `json:"received"` // bytes of response bodies
}

// Counts are traffic by kind and level, one entry for each, in a fixed order.
type Counts []Count

// Where sums the counts that keep accepts.
func (c Counts) Where(keep func(Count) bool) (sum Count) {
	for _, n := range c {
		if keep(n) {
			sum.Requests += n.Requests
			sum.Sent += n.Sent
			sum.Received += n.Received
		}
	}
	return sum
}

// Total sums all counts.
func (c Counts) Total() Count { return c.Where(func(Count) bool { return true }) }

// Minus returns the traffic after an earlier state of the same counts.
func (c Counts) Minus(earlier Counts) Counts {
	var diff Counts
	for _, n := range c {
		same := func(o Count) bool { return o.Kind == n.Kind && o.Level == n.Level }
		was := earlier.Where(same)
		n.Requests -= was.Requests
		n.Sent -= was.Sent
		n.Received -= was.Received
		if n.Requests > 0 {
			diff = append(diff, n)
		}
	}
	return diff
}

// arrival is when a level 0 file became readable in the store.
type arrival struct {
	file string // LEVEL/MIN-MAX
	at   time.Time
}

// meter counts the requests that pass a proxy in front of a store. Failed requests count
// like others: stores charge for them, too.
type meter struct {
	mu       sync.Mutex
	counts   map[call]*Count
	arrivals []arrival
}

// call is the key of a count.
type call struct {
	kind  Kind
	level int
}

func newMeter() *meter { return &meter{counts: map[call]*Count{}} }

// handle is a handler for [storagetest.Replica.Proxy].
func (m *meter) handle(w http.ResponseWriter, r *http.Request, next http.Handler) {
	c, file := classify(r.Method, r.URL)
	body := &countingReader{ReadCloser: r.Body}
	r.Body = body
	answer := &countingWriter{ResponseWriter: w, host: r.Host}
	next.ServeHTTP(answer, r)
	m.add(c, body.n, answer.n)
	if c == (call{Put, 0}) && answer.status < 300 {
		m.arrived(file)
	}
}

func (m *meter) add(c call, sent, received int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.counts[c]
	if n == nil {
		n = &Count{Kind: c.kind, Level: c.level}
		m.counts[c] = n
	}
	n.Requests++
	n.Sent += sent
	n.Received += received
}

func (m *meter) arrived(file string) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.arrivals = append(m.arrivals, arrival{file, now})
}

// Counts returns the traffic so far.
func (m *meter) Counts() Counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all Counts
	for _, n := range m.counts {
		all = append(all, *n)
	}
	slices.SortFunc(all, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Level, b.Level))
	})
	return all
}

// Arrivals returns the level 0 files so far.
func (m *meter) Arrivals() []arrival {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.arrivals)
}

// ltxName finds level, MinTXID and MaxTXID in an object's name.
var ltxName = regexp.MustCompile(`/([0-9a-f]{1,4})/([0-9a-f]{16}-[0-9a-f]{16})\.ltx$`)

// classify recognizes the requests of S3's API and of Google's JSON and XML APIs. The
// file is the LTX file's level and TXIDs.
func classify(method string, u *url.URL) (c call, file string) {
	query := u.Query()
	name := cmp.Or(query.Get("name"), u.Path) // Google's uploads have the name in the query
	level := NoLevel
	if m := ltxName.FindStringSubmatch(name); m != nil {
		if l, err := strconv.ParseInt(m[1], 16, 0); err == nil {
			level, file = int(l), strconv.FormatInt(l, 10)+"/"+m[2]
		}
	}
	return call{kindOf(method, query), level}, file
}

func kindOf(method string, query url.Values) Kind {
	switch {
	case method == http.MethodDelete, query.Has("delete"):
		return Delete
	case method == http.MethodGet || method == http.MethodHead:
		if query.Has("list-type") || query.Has("prefix") {
			return List
		}
		return Get
	case query.Has("uploads"), query.Has("uploadId"), query.Has("upload_id"), query.Get("uploadType") == "resumable":
		return Part
	}
	return Put
}

// countingReader counts the bytes read through it.
type countingReader struct {
	io.ReadCloser
	n int64
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.n += int64(n)
	return n, err
}

// countingWriter counts the bytes written through it. Where Google's server tells a
// client to continue an upload, it writes the proxy's address instead of the server's.
type countingWriter struct {
	http.ResponseWriter
	host   string
	status int
	n      int64
}

func (w *countingWriter) WriteHeader(status int) {
	w.status = status
	if u, err := url.Parse(w.Header().Get("Location")); err == nil && strings.HasPrefix(u.Path, "/upload/") {
		u.Host = w.host
		w.Header().Set("Location", u.String())
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.n += int64(n)
	return n, err
}
