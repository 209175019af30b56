package compare

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// app is the application's process.
type app struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	orders  *json.Encoder
	answers *json.Decoder
}

// command returns a command that starts this program, or another, as an application.
func command(ctx context.Context, env []string, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(append(os.Environ(), env...), roleVariable+"=1")
	cmd.Stderr = os.Stderr
	return cmd
}

func startApp(ctx context.Context, s spec, env []string) (*app, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return startProgram(ctx, s, env, self)
}

// startProgram starts another program as an application.
func startProgram(ctx context.Context, s spec, env []string, program string, args ...string) (*app, error) {
	cmd := command(ctx, env, program, args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	a := &app{cmd: cmd, in: in, orders: json.NewEncoder(in), answers: json.NewDecoder(out)}
	return a, a.orders.Encode(s)
}

func (a *app) order(s string) error { return a.orders.Encode(s) }

// answer reads an answer, or returns how the process ended without one.
func (a *app) answer(o *outcome) error {
	if err := a.answers.Decode(o); err != nil {
		return fmt.Errorf("the application ended: %w", errors.Join(a.cmd.Wait(), err))
	}
	return nil
}

func (a *app) close() error {
	if err := errors.Join(a.order("close"), a.in.Close()); err != nil {
		return err
	}
	return a.cmd.Wait()
}

// runInChild runs a task without further orders in a process: a restore, or filling a
// database.
func runInChild(ctx context.Context, s spec, env []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := command(ctx, env, self)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	return errors.Join(json.NewEncoder(in).Encode(s), in.Close(), cmd.Wait())
}
