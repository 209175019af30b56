package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/walvfs/walvfs/shipper/restore"
	"github.com/walvfs/walvfs/shipper/storage"
)

// toStdout is the output that is not a file.
const toStdout = "-"

// write is restore -o -: messages go to the standard error.
func (c *restoreCmd) write(a *app, store storage.Store) error {
	if isTerminal(a.stdout) {
		return &usageError{errors.New("-o -: the standard output is a terminal"), "redirect it to a file or a pipe"}
	}
	progress := a.newProgress(c.Quiet, fmt.Sprintf("restoring from %s to the standard output, through a temporary file in %s", store, os.TempDir()))
	out := &counting{app: a}
	result, err := restore.Write(a.ctx, store, out, "", c.options(progress))
	progress.end()
	if errors.Is(err, restore.ErrNoReplica) && c.IfReplicaExists {
		return c.skip(a, "there is no replica at "+store.String())
	}
	if err != nil && out.begun {
		return &interruptedError{fmt.Errorf("%w; the database on the standard output is not whole", err), "the database on the standard output is not whole"}
	}
	if err != nil {
		return withNearest(a, store, err)
	}
	a.stdout, c.Output = a.stderr, "standard output"
	return c.done(a, store.String(), result)
}

// counting records whether anything was written to the standard output.
type counting struct {
	*app
	begun bool
}

func (c *counting) Write(b []byte) (int, error) {
	c.begun = true
	return c.stdout.Write(b)
}
