package compare

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// A StartUp is a way to start the program. The time from the start of a process to the
// answer of its first query depends on the engine: walvfs adds nothing to it.
type StartUp struct {
	Name   string    `json:"name"`
	Env    []string  `json:"env,omitempty"` // additional variables of the process
	Runs   []float64 `json:"runs_ms"`
	Spread Spread    `json:"summary_ms"`
}

// String returns how long the start took.
func (s StartUp) String() string {
	return fmt.Sprintf("%s ms from the start of a process to the answer of its first query", Cell{Spread: s.Spread})
}

// StartUps are the measured ways. Set them before Main for an engine that can be started
// in several.
var StartUps = []StartUp{{Name: "start-up"}}

// measureStartUps starts the program a few times in each way, in turns. It also returns
// SQLite's version.
func measureStartUps(ctx context.Context) (all []StartUp, version string, err error) {
	all = append(all, StartUps...)
	const rounds = 5
	for round := range 1 + rounds { // the first round fills caches
		for i := range all {
			s := &all[i]
			took, v, err := startOnce(ctx, s.Env)
			if err != nil {
				return nil, "", fmt.Errorf("%s: %w", s.Name, err)
			}
			if round == 0 {
				continue
			}
			s.Runs, version = append(s.Runs, float64(took.Microseconds())/1000), v
			s.Spread = spread(s.Runs)
		}
	}
	return all, version, nil
}

// startOnce starts one process, and waits for its end.
func startOnce(ctx context.Context, env []string) (took time.Duration, version string, err error) {
	start := time.Now()
	a, err := startApp(ctx, spec{FirstQuery: true}, env)
	if err != nil {
		return 0, "", err
	}
	var o outcome
	err = a.answer(&o)
	took = time.Since(start)
	if err != nil {
		return 0, "", err
	}
	a.in.Close()
	return took, o.SQLite, a.cmd.Wait()
}

// answerFirstQuery is the main function of such a process.
func answerFirstQuery(out io.Writer) error {
	db, err := sql.Open("sqlite3", ":memory:")
	if err != nil {
		return err
	}
	defer db.Close()
	var o outcome
	if err := db.QueryRow("SELECT sqlite_version()").Scan(&o.SQLite); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(o)
}

func printStartUps(out io.Writer, all []StartUp) {
	for _, s := range all {
		fmt.Fprintf(out, "%s: %s\n", s.Name, s)
	}
}
