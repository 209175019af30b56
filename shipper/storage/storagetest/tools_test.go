package storagetest

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

type testsFunc func() int

func (f testsFunc) Run() int { return f() }

// Tests begin when all tools are built, in parallel, or have failed to build. Processes
// that tests start build nothing.
func TestWithTools(t *testing.T) {
	t.Setenv(toolsBuilt, "")
	synctest.Test(t, func(t *testing.T) {
		var both sync.WaitGroup
		var mu sync.Mutex
		builds, atStart := 0, 0
		both.Add(2)
		build := &tool{path: func() (string, error) {
			both.Done()
			both.Wait()
			mu.Lock()
			defer mu.Unlock()
			builds++
			return "", errors.New("it does not build")
		}}
		tests := withTools{testsFunc(func() int { atStart = builds; return 7 }), []*tool{build, build}}
		for range 2 {
			if code := tests.Run(); code != 7 || atStart != 2 || builds != 2 {
				t.Errorf("exit code %d; %d builds of 2 before the tests, %d in all", code, atStart, builds)
			}
		}
	})
}
