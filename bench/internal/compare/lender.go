package compare

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
)

// lender stands in for the test to which package storagetest lends its servers, so
// that the benchmark and the tests have the same ones. Fatal ends the benchmark by a
// panic that [lend] recovers.
type lender struct {
	testing.TB // what storagetest does not use
	ctx        context.Context
	cleanups   []func()
}

// fatal is what lender panics with.
type fatal struct{ error }

// lend runs do with a lender, and takes back what was lent when do returns.
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

// TempDir makes a directory for what package storagetest lends: among stores.
func (l *lender) TempDir() string { return l.directory(storesIn) }

// directory makes a directory in another one, the system's for temporary files if it is
// empty. It is removed at the end.
func (l *lender) directory(in string) string {
	dir, err := os.MkdirTemp(in, "walvfs-bench-")
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
