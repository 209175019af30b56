package main

import (
	"fmt"

	"github.com/alecthomas/kong"
)

// cli is the grammar: it has a field for each command. The command's Run method is in the
// file of the same name.
type cli struct {
	Restore restoreCmd `cmd:"" help:"Restore a database from a replica."`
	Push    pushCmd    `cmd:"" help:"Upload the changes of a database once, for example from cron."`
	Adopt   adoptCmd   `cmd:"" help:"Let a database that equals a replica continue it: a copy, or a database that Litestream replicated."`
	Verify  verifyCmd  `cmd:"" help:"Read a whole replica and check it."`
	Drill   drillCmd   `cmd:"" help:"Restore to a temporary directory and check the database."`
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

const description = `walvfs restores, checks and queries replicas of SQLite databases that walvfs or Litestream 0.5 wrote.

Name a replica by its URL: file:///directory, s3://bucket/path, s3://bucket.host/path for S3-compatible services, or gs://bucket/path. The credentials come from the environment, files and roles that each service's own SDK reads. Or name the database's path, if a configuration file names its replica: --config, the environment variable WALVFS_CONFIG, or /etc/walvfs.yml.`

const details = `Exit statuses:

	0    done, or nothing to do, and a flag allows it
	1    failed; existing files are unchanged
	2    the command line or the configuration file is wrong
	3    there is no replica at the URL
	4    verify or drill found an error in the replica or the database
	5    drill found no error, but could not check everything
	130  interrupted; existing files are unchanged

Long flags also work with one dash, as in -force.`

// parse finds the command that the arguments name. If no command is to run, parse has
// printed the reason, and returns the exit status.
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

// exited is the panic with which kong exits after printing help: kong expects that exit
// does not return.
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

// helpFor returns a reference to the help for a mistake.
func helpFor(err error) string {
	if pe, ok := err.(*kong.ParseError); ok && pe.Context.Selected() != nil {
		return fmt.Sprintf("see: %s --help", pe.Context.Selected().FullPath())
	}
	return "see: walvfs --help"
}
