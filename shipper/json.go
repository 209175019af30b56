package shipper

import "encoding/json"

// MarshalJSON returns the output of PRAGMA walvfs_status: the fields in snake case,
// errors as their text, durations in seconds.
func (s Status) MarshalJSON() ([]byte, error) {
	text := func(err error) string {
		if err == nil {
			return ""
		}
		return err.Error()
	}
	type tip struct {
		TXID string `json:"txid"`
		Time string `json:"time"` // RFC 3339
	}
	type lag struct {
		Seconds float64 `json:"seconds"`
		Commits int64   `json:"commits"`
		Pages   int64   `json:"pages"`
		Bytes   int64   `json:"bytes"`
	}
	type job struct {
		Name  string   `json:"name"`
		State JobState `json:"state"`
		At    string   `json:"at,omitempty"` // RFC 3339
		Error string   `json:"error,omitempty"`
	}
	v := struct {
		Path     string   `json:"path"`
		Replica  string   `json:"replica"`
		State    State    `json:"state"`
		Error    string   `json:"error,omitempty"`
		Kind     string   `json:"error_kind,omitempty"`
		Tip      *tip     `json:"tip,omitempty"`
		Lag      lag      `json:"lag"`
		Uploads  int64    `json:"uploads"`
		Bytes    int64    `json:"bytes"`
		Requests Requests `json:"requests"`
		Failures int64    `json:"failures"`
		Jobs     []job    `json:"jobs"`
		Levels   string   `json:"levels_error,omitempty"`
		Unfenced bool     `json:"unfenced,omitempty"`
	}{
		Path: s.Path, Replica: s.Replica, State: s.State, Error: text(s.Err),
		Lag:     lag{s.Lag.Seconds(), s.LagCommits, s.LagPages, s.LagBytes},
		Uploads: s.Uploads, Bytes: s.Bytes, Requests: s.Requests, Failures: s.Failures,
		Jobs: make([]job, len(s.Jobs)), Levels: text(s.LevelsErr), Unfenced: s.Unfenced,
	}
	for i, j := range s.Jobs {
		v.Jobs[i] = job{Name: j.Name, State: j.State, Error: text(j.Err)}
		if !j.At.IsZero() {
			v.Jobs[i].At = j.At.UTC().Format("2006-01-02T15:04:05.000Z07:00")
		}
	}
	if s.Err != nil {
		v.Kind = ErrorKind(s.Err)
	}
	if s.Tip.TXID > 0 {
		v.Tip = &tip{s.Tip.TXID.String(), s.Tip.Time.UTC().Format("2006-01-02T15:04:05.000Z07:00")}
	}
	return json.Marshal(v)
}
