package statefile

import (
	"encoding/json"
	"errors"
)

// mostAppended bounds the bytes appended after a whole state.
const mostAppended = 1 << 20

// Append adds a state, not durably: a crash of the process does not lose it, a crash of
// the machine may. If state only adds to the state before, all must return the whole
// state, which Append writes when it removes earlier lines. After an error the file is
// not written to again until the next draft: it ends in a state that the WAL no longer
// matches.
func (f *File) Append(state State, all func() State) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.appends {
		return nil
	}
	text, err := json.Marshal(state)
	if err != nil {
		return errors.Join(err, f.close())
	}
	after := f.slots.current.tail
	_, next := after.line(text)
	if next.size > f.base+mostAppended { // remove the lines that need not be durable
		if state.More {
			text, err = json.Marshal(all())
		}
		after = f.keep
		_, next = after.line(text)
		f.base = next.size
	}
	if err == nil {
		err = f.slots.append(after, text)
	}
	if err != nil {
		return errors.Join(err, f.close())
	}
	return nil
}

// errNoRoom means that a draft is better than one more state.
var errNoRoom = errors.New("a new record is due")

// AppendWhole adds a state that does not depend on the states before. The state is
// durable once the returned function has succeeded, which may run concurrently with other
// methods. AppendWhole fails if no record is published, or if many states have been
// appended: replace the record then.
func (f *File) AppendWhole(state State) (sync func() error, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.appends {
		return nil, errNoRoom
	}
	text, err := json.Marshal(state)
	if err != nil {
		return nil, err
	}
	after := f.slots.current.tail
	_, next := after.line(text)
	if next.size > f.head+mostAppended/2 {
		return nil, errNoRoom
	}
	if err := f.slots.append(after, text); err != nil {
		return nil, errors.Join(err, f.close())
	}
	f.base, f.keep = next.size, next
	return f.slots.disk.Sync, nil
}
