package compare

import (
	"errors"
	"os"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
)

// profiles are files to write while an application works; empty names are not written.
type profiles struct {
	CPU, Memory, Trace string
}

// named returns the files of one run: each run is a separate process.
func (p profiles) named(suffix string) profiles {
	for _, name := range []*string{&p.CPU, &p.Memory, &p.Trace} {
		if *name != "" {
			*name += "." + suffix
		}
	}
	return p
}

// start starts profiling; stop writes the files. The memory profile covers all
// allocations since the process began.
func (p profiles) start() (stop func() error, err error) {
	var ends []func() error
	begin := func(name string, start func(f *os.File) error, end func(f *os.File) error) {
		if name == "" || err != nil {
			return
		}
		var f *os.File
		if f, err = os.Create(name); err == nil {
			err = start(f)
			ends = append(ends, func() error { return errors.Join(end(f), f.Close()) })
		}
	}
	begin(p.CPU,
		func(f *os.File) error { return pprof.StartCPUProfile(f) },
		func(*os.File) error { pprof.StopCPUProfile(); return nil })
	begin(p.Trace,
		func(f *os.File) error { return trace.Start(f) },
		func(*os.File) error { trace.Stop(); return nil })
	begin(p.Memory,
		func(*os.File) error { return nil },
		func(f *os.File) error { runtime.GC(); return pprof.Lookup("allocs").WriteTo(f, 0) })
	stop = func() error {
		var errs []error
		for _, end := range ends {
			errs = append(errs, end())
		}
		return errors.Join(errs...)
	}
	return stop, err
}
