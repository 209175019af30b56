package tests

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/walvfs/walvfs/shipper"
	"github.com/walvfs/walvfs/shipper/storage"
	"github.com/walvfs/walvfs/shipper/storage/storagetest"
)

// An answerer answers requests instead of the store while it is on.
type answerer struct {
	on       atomic.Bool
	answered atomic.Int64
	answer   func(w http.ResponseWriter, req *http.Request, next http.Handler)
}

func (a *answerer) handle(w http.ResponseWriter, req *http.Request, next http.Handler) {
	if !a.on.Load() {
		next.ServeHTTP(w, req)
		return
	}
	a.answered.Add(1)
	a.answer(w, req, next)
}

// refuse makes the store answer a request with an error.
func refuse(status int, code string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, req *http.Request, _ http.Handler) {
		io.Copy(io.Discard, req.Body)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>injected</Message></Error>", code)
	}
}

// refuseServed makes the store serve a request, but answer with an error.
func refuseServed(status int, code string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		next.ServeHTTP(httptest.NewRecorder(), req)
		refuse(status, code)(w, req, next)
	}
}

func badGateway(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	http.Error(w, "<html>Bad Gateway</html>", http.StatusBadGateway)
}

// inPieces makes the store send each byte of an answer separately, and lose the last half
// of them.
func inPieces(w http.ResponseWriter, req *http.Request, next http.Handler) {
	whole := httptest.NewRecorder()
	next.ServeHTTP(whole, req)
	body := whole.Body.Bytes()
	for name, values := range whole.Header() {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(body)+1))
	w.WriteHeader(whole.Code)
	for _, b := range body[:len(body)/2] {
		w.Write([]byte{b})
		http.NewResponseController(w).Flush()
	}
	panic(http.ErrAbortHandler)
}

// TestStoreRefuses holds invariants 2, 5 and 8: whatever a store answers instead of
// serving requests, an application under load gets no error; the status contains the
// cause, the log contains it once, and the replica converges when the store serves
// requests again.
func TestStoreRefuses(t *testing.T) {
	const first, middle = true, false // from the first open on, or in the middle
	for _, test := range []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request, http.Handler)
		from   bool
		says   string // the text in the status and the log
		denied bool   // only an operator can end it
		often  int64  // answers after which the log still contains one failure
	}{
		// The SDK waits seconds between its own tries when it is throttled.
		{"503 SlowDown", refuse(503, "SlowDown"), first, "SlowDown", false, 3},
		{"503 SlowDown, but served", refuseServed(503, "SlowDown"), middle, "SlowDown", false, 3},
		{"429 TooManyRequests", refuse(429, "TooManyRequests"), middle, "TooManyRequests", false, 3},
		{"500 InternalError", refuse(500, "InternalError"), middle, "InternalError", false, 20},
		{"500 InternalError, but served", refuseServed(500, "InternalError"), first, "InternalError", false, 20},
		{"502 of a proxy", badGateway, middle, "502", false, 20},
		{"half an answer in pieces", inPieces, middle, "", false, 20},
		{"403 ExpiredToken", refuse(403, "ExpiredToken"), middle, "credentials have expired", true, 20},
		{"403 InvalidAccessKeyId", refuse(403, "InvalidAccessKeyId"), first, "check AWS_ACCESS_KEY_ID", true, 20},
		{"403 SignatureDoesNotMatch", refuse(403, "SignatureDoesNotMatch"), first, "check AWS_SECRET_ACCESS_KEY", true, 20},
		{"403 AccessDenied", refuse(403, "AccessDenied"), middle, "credentials need s3:", true, 20},
		{"403 RequestTimeTooSkewed", refuse(403, "RequestTimeTooSkewed"), middle, "set this machine's clock", true, 20},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			direct := storagetest.S3(t)
			store := &answerer{answer: test.answer}
			a := newApp(t, direct.Proxy(t, store.handle))
			store.on.Store(test.from == first)
			a.open()
			a.start()
			if test.from == middle {
				a.shipMore(2)
				store.on.Store(true)
			}
			a.commitMore(50)
			a.retrying()
			a.requireSays(test.says, test.denied)
			a.requireNotNoisy(test.denied, func() bool { return store.answered.Load() > test.often })
			a.truncate()
			a.commitMore(50)
			store.on.Store(false)
			a.settle()
			a.shipMore(2)
			a.end(direct)
			if n := len(a.log.With("level=INFO", "replication resumed")); n != 1 {
				t.Errorf("the log says %d times that replication resumed", n)
			}
		})
	}
}

// requireSays fails unless the status contains the cause.
func (a *app) requireSays(what string, denied bool) {
	a.t.Helper()
	st := a.status()
	if st.State != shipper.Retrying || st.Err == nil || !strings.Contains(st.Err.Error(), what) || errors.Is(st.Err, storage.ErrPermission) != denied {
		a.t.Errorf("the status does not say %q: %+v", what, st)
	}
}

// requireNotNoisy lets replication fail often, and fails unless the log contains the
// failure once, at the right level, and no secret.
func (a *app) requireNotNoisy(denied bool, often func() bool) {
	a.t.Helper()
	eventually(a.t, "replication has failed often", func() bool {
		a.retry()
		return often()
	})
	level := "level=WARN"
	if denied {
		level = "level=ERROR"
	}
	if n, all := len(a.log.With(level, "replication failed")), len(a.log.With("replication failed")); n != 1 || all != 1 {
		a.t.Errorf("the log says it %d times, %d times as %s:\n%s", all, n, level, a.log.With(""))
	}
	if secret := a.replica.Options.SecretAccessKey; len(a.log.With(secret)) > 0 {
		a.t.Error("the log has the secret access key")
	}
}

// TestCredentialsRenewed: credentials that another program on the machine writes may be
// missing and wrong at first. Replication begins when they are right, without a restart.
func TestCredentialsRenewed(t *testing.T) {
	direct := storagetest.S3(t)
	direct.Setenv(t)
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"} {
		unset(t, name)
	}
	dir := t.TempDir()
	file, config := filepath.Join(dir, "credentials.json"), filepath.Join(dir, "config")
	write := func(path, content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	credentials := func(id, secret string) {
		t.Helper()
		write(file, fmt.Sprintf(`{"Version": 1, "AccessKeyId": %q, "SecretAccessKey": %q, "Expiration": "2020-01-01T00:00:00Z"}`, id, secret))
	}
	write(config, "[default]\ncredential_process = cat "+file+" 2>/dev/null\n")
	t.Setenv("AWS_CONFIG_FILE", config)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "none"))
	keys := direct.Options
	configured := *direct
	configured.Options = storage.Options{Endpoint: keys.Endpoint, Region: keys.Region}

	a := newApp(t, &configured)
	a.open()
	a.start()
	says := func(what string) {
		t.Helper()
		eventually(t, "the status says "+what, func() bool {
			a.retry()
			st := a.status()
			return st.State == shipper.Retrying && errors.Is(st.Err, storage.ErrPermission) && strings.Contains(st.Err.Error(), what)
		})
		a.commitMore(50)
	}
	says("no usable credentials")
	credentials("NOBODY", keys.SecretAccessKey)
	says("check AWS_ACCESS_KEY_ID")
	if n := len(a.log.With("level=ERROR")); n != 2 { // one line for each remedy, however many tries failed
		t.Errorf("%d errors in the log:\n%s", n, a.log.With(""))
	}
	credentials(keys.AccessKeyID, keys.SecretAccessKey)
	a.settle()
	a.end(direct)
}

// unset removes an environment variable until the test ends.
func unset(t *testing.T, name string) {
	t.Setenv(name, "") // the test restores its value
	os.Unsetenv(name)
}
