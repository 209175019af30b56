package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/alecthomas/kong"
)

type versionCmd struct{}

func (*versionCmd) Run(a *app) error { return printVersion(a.stdout) }

// versionFlag is the command as a flag, after which no other command runs.
type versionFlag bool

// BeforeReset runs when kong meets the flag, before it requires any argument.
func (versionFlag) BeforeReset(k *kong.Kong) error {
	if err := printVersion(k.Stdout); err != nil {
		return err
	}
	k.Exit(statusOK)
	return nil
}

func printVersion(w io.Writer) error {
	_, err := fmt.Fprintf(w, "walvfs %s %s/%s %s\n", version(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	return err
}

// version returns the module's version, which go install and go build record.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
