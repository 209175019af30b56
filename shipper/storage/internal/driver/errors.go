package driver

import (
	"errors"
	"fmt"

	"github.com/walvfs/walvfs/shipper/storage"
)

// Fail is the error of an operation. The driver shortens what its SDK says; explains an
// error, with a remedy, "" for none, and a sentinel that the error is to wrap, nil for
// none; and is told if its credentials were refused. An error that was explained already
// stays as it is.
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

// Brief says what an error means, whose own text tells the reader what the reader knows
// or cannot use.
type Brief struct {
	Text string
	Err  error
}

func (e *Brief) Error() string { return e.Text }
func (e *Brief) Unwrap() error { return e.Err }
