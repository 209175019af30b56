package compare

import "testing"

// Each way to start the program is measured, with its environment.
func TestStartUps(t *testing.T) {
	defer func(all []StartUp) { StartUps = all }(StartUps)
	StartUps = []StartUp{{Name: "one"}, {Name: "another", Env: []string{"GODEBUG=gctrace=0"}}}
	all, version, err := measureStartUps(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if len(s.Runs) != 5 || s.Spread.Median <= 0 {
			t.Errorf("%+v", s)
		}
	}
	if len(all) != 2 || version == "" || StartUps[0].Runs != nil {
		t.Errorf("%+v, SQLite %q, %+v", all, version, StartUps)
	}
}
