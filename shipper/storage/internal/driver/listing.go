package driver

import (
	"errors"
	"fmt"
	"strings"
)

// ErrForeign: the answer does not come from the service, or is about another object.
var ErrForeign = errors.New("the answer does not come from the service")

// HintForeign is the hint of errors that wrap [ErrForeign].
const HintForeign = "a proxy, a login page or a wrong endpoint may answer in the service's place: check the endpoint and HTTPS_PROXY"

// A Listing checks the answers of one listing. A truncated listing, or another replica's,
// must not pass for a replica with fewer files.
type Listing struct {
	Root       string // of all keys: "" or with a closing slash
	Prefix     string
	StartAfter string

	last   string          // key
	tokens map[string]bool // seen since the last key
}

// Key returns the key of a listed object's name, and whether the request includes it:
// some services list the marker of a directory, or ignore where to start.
func (l *Listing) Key(name string) (key string, asked bool, err error) {
	key, ok := strings.CutPrefix(name, l.Root)
	switch {
	case key == "" || strings.HasSuffix(name, "/"), ok && key <= l.StartAfter:
		return "", false, nil
	case !ok || !strings.HasPrefix(key, l.Prefix):
		return "", false, fmt.Errorf("%w: it lists %q, which is not below %q", ErrForeign, name, l.Root+l.Prefix)
	case key <= l.last:
		return "", false, fmt.Errorf("%w: it lists %q after %q, and keys must be in order", ErrForeign, key, l.last)
	}
	l.last, l.tokens = key, nil
	return key, true, nil
}

// Next checks the continuation token of a truncated answer.
func (l *Listing) Next(token string) error {
	if token == "" {
		return fmt.Errorf("%w: the listing is truncated and has no continuation token", ErrForeign)
	}
	if l.tokens[token] {
		return fmt.Errorf("%w: the listing repeats a continuation token", ErrForeign)
	}
	if l.tokens == nil {
		l.tokens = map[string]bool{}
	}
	l.tokens[token] = true
	return nil
}
