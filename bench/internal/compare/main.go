// Package compare compares SQLite with and without a replica: alone, with walvfs, and
// with Litestream as a second process. It is all of command bench, so that a module with
// another engine for SQLite can be the same command.
package compare

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Main is the main function. The program starts itself again as the measured application.
func Main() {
	if isChild() {
		exit(runChild(os.Stdin, os.Stdout))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if len(os.Args) > 1 && os.Args[1] == "reading" {
		exit(reading(ctx, os.Args[2:], os.Stdout))
	}
	exit(bench(ctx, os.Args[1:], os.Stdout))
}

func exit(err error) {
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		os.Exit(0)
	}
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}
