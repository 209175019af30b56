// Command walvfs works with replicas of SQLite databases: it restores, checks and
// describes them. Replication itself needs no command; it runs inside the application.
//
//	walvfs restore -o app.db s3://bucket/app
//	walvfs verify s3://bucket/app
//	walvfs drill --live /var/lib/app/app.db s3://bucket/app
//	walvfs info s3://bucket/app
//	walvfs points s3://bucket/app
//	walvfs query --timestamp '5m ago' s3://bucket/app 'SELECT count(*) FROM users'
//
// README.md in this directory has examples for systemd, Docker, CI and the permissions of
// buckets.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, os.Getenv))
}

// app is the environment of every command.
type app struct {
	ctx    context.Context // done on SIGINT and SIGTERM
	stdin  io.Reader
	stdout io.Writer // results
	stderr io.Writer // progress, warnings and errors
	getenv func(string) string
}

// run is the program without its process. It returns the exit status.
func run(args []string, stdout, stderr io.Writer, getenv func(string) string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal kills: the clean-up after the first may hang

	a := &app{ctx: ctx, stdin: os.Stdin, stdout: stdout, stderr: stderr, getenv: getenv}
	command, status := parse(args, a)
	if command == nil {
		return status
	}
	return a.report(command.Run(a))
}
