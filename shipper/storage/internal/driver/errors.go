package driver

import (
	"errors"
	"fmt"

	"github.com/walvfs/walvfs/shipper/storage"
)

// Fail returns the error of an operation. The driver's function brief shortens the SDK's
// text. explain returns a remedy, "" for none, and a sentinel for the error to wrap, nil
// for none. refused is called if the store refused the credentials. Fail returns an error
// that was already explained unchanged.
func Fail(
	op, url, key string, err error,
	brief func(error) error, explain func(op string, err error) (hint string, sentinel error), refused func(),
) error {
	var done *storage.Error
	if errors.As(err, &done) {
		return err
	}
	hint, sentinel := explain(op, err)
	e := &storage.Error{Op: op, URL: url, Key: key, Err: brief(err), Hint: hint}
	if sentinel != nil && !errors.Is(err, sentinel) {
		e.Err = fmt.Errorf("%w: %w", sentinel, e.Err)
	}
	if sentinel == storage.ErrPermission {
		refused()
	}
	return e
}

// Brief is an error with a short text, for an error whose own text repeats what the
// reader knows or cannot use.
type Brief struct {
	Text string
	Err  error
}

func (e *Brief) Error() string { return e.Text }
func (e *Brief) Unwrap() error { return e.Err }
