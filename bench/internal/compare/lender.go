package compare

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
)

// lender takes the place of the test to which package storagetest lends its servers, so
// that the benchmark and the tests use the same servers. Fatal ends the benchmark by a
// panic that [lend] recovers.
type lender struct {
	testing.TB // methods that storagetest does not use
	ctx        context.Context
	cleanups   []func()
}

// fatal is the value with which lender panics.
type fatal struct{ error }

// lend runs do with a lender, and runs its cleanups when do returns.
func lend(ctx context.Context, do func(l *lender) error) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	l := &lender{ctx: ctx}
	defer func() {
		p := recover()
		cancel()
		for _, c := range slices.Backward(l.cleanups) {
			c()
		}
		if f, ok := p.(fatal); ok {
			err = f.error
		} else if p != nil {
			panic(p)
		}
	}()
	return do(l)
}

func (l *lender) Helper()                        {}
func (l *lender) Context() context.Context       { return l.ctx }
func (l *lender) Cleanup(f func())               { l.cleanups = append(l.cleanups, f) }
func (l *lender) Error(args ...any)              { fmt.Fprintln(os.Stderr, args...) }
func (l *lender) Fatal(args ...any)              { panic(fatal{fmt.Errorf("%s", fmt.Sprint(args...))}) }
func (l *lender) Fatalf(format string, a ...any) { panic(fatal{fmt.Errorf(format, a...)}) }

// TempDir makes a directory for package storagetest, in the directory of stores.
func (l *lender) TempDir() string { return l.directory(storesIn) }

// directory makes a directory in another directory; empty means the system's for
// temporary files. It is removed at the end.
func (l *lender) directory(in string) string {
	dir, err := os.MkdirTemp(in, "walvfs-bench-")
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
