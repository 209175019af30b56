package main

import (
	"fmt"

	"github.com/alecthomas/kong"
)

// cli is the grammar: a field for each command, whose Run method is in the file
// of its name.
type cli struct {
	Restore restoreCmd `cmd:"" help:"Restore a database from a replica."`
	Push    pushCmd    `cmd:"" help:"Replicate an existing database, once."`
	Adopt   adoptCmd   `cmd:"" help:"Let a database take its replica over that equals it: a copy, or one that Litestream replicated."`
	Verify  verifyCmd  `cmd:"" help:"Read a whole replica and check it."`
	Drill   drillCmd   `cmd:"" help:"Restore to a temporary place and check the database."`
	Query   queryCmd   `cmd:"" help:"Run SQL on a replica, at any moment, without restoring it."`
	Points  pointsCmd  `cmd:"" help:"Show which moments can be restored, and how far apart they are."`
	Diff    diffCmd    `cmd:"" help:"Show which rows changed between two moments, and undo it."`
	Ls      lsCmd      `cmd:"" help:"List the files of a replica, by level."`
	Info    infoCmd    `cmd:"" help:"Show a replica's newest state, what can be restored, sizes and costs."`
	Dump    dumpCmd    `cmd:"" help:"Show what is in an LTX file."`
	Demo    demoCmd    `cmd:"" help:"Lose a database and get it back, in a temporary directory."`
	Version versionCmd `cmd:"" help:"Print the version."`

	Completion completionCmd `cmd:"" help:"Print a completion script for a shell."`
	Man        manCmd        `cmd:"" help:"Print the manual page."`

	ShowVersion versionFlag `name:"version" help:"Print the version."`
}

const description = `Restores and checks SQLite databases that walvfs or Litestream 0.5 replicated, and shows what a replica holds.

A replica is named by its URL: file:///directory, s3://bucket/path, s3://bucket.host/path for S3-compatible services, or gs://bucket/path. Credentials come from where each service's own tools look for them. Or it is named by the path of its database, if a configuration file says where its replica is: --config, the environment variable WALVFS_CONFIG, or /etc/walvfs.yml.`

const details = `Exit statuses:

	0    done, or nothing to do and a flag says that this is fine
	1    failed; what was there before is untouched
	2    the command line or the configuration file is wrong
	3    there is no replica at the URL
	4    verify or drill found the replica or the database wrong
	5    drill found nothing wrong, but could not check everything
	130  interrupted; what was there before is untouched

Flags may be written with one dash, as in -force.`

// parse finds the command that the arguments name. If there is none to run, it
// has printed why, and returns the exit status.
func parse(args []string, a *app) (command *kong.Context, status int) {
	var c cli
	k := newParser(&c, a)

	defer func() {
		if s, ok := recover().(exited); ok {
			command, status = nil, int(s)
		}
	}()
	args = goFlags(k.Model, args)
	if len(args) == 0 {
		args = []string{"--help"}
	}
	ctx, err := k.Parse(args)
	if err != nil {
		return nil, a.report(&usageError{err, helpFor(err)})
	}
	return ctx, 0
}

// exited is how kong leaves after it printed help: as a panic, because it
// expects not to come back.
type exited int

func newParser(c *cli, a *app) *kong.Kong {
	return kong.Must(c,
		kong.Name("walvfs"),
		kong.Description(description),
		kong.Writers(a.stdout, a.stderr),
		kong.Exit(func(status int) { panic(exited(status)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 90}),
		kong.PostBuild(func(k *kong.Kong) error {
			k.Model.Detail = details
			return nil
		}),
		kong.Bind(a),
	)
}

// helpFor names the help that fits a mistake.
func helpFor(err error) string {
	if pe, ok := err.(*kong.ParseError); ok && pe.Context.Selected() != nil {
		return fmt.Sprintf("see: %s --help", pe.Context.Selected().FullPath())
	}
	return "see: walvfs --help"
}
