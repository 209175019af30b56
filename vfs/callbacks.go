package vfs

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// callbacks calls the application's code, its logger and its listeners: one call after
// another, in the order of the events, in a goroutine of its own that exists while calls
// are queued. Replication never waits for that code, which may open, write to and close
// the very database of the event. A lock held here, or even a close that waits for
// replication to end, would be a deadlock.
type callbacks struct {
	mu      sync.Mutex
	queue   []func()
	dropped int
	running bool
}

// mostCallbacks bounds the memory of the queue when the application's code does not
// return.
const mostCallbacks = 1000

func (c *callbacks) add(call func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == mostCallbacks {
		c.dropped++
		return
	}
	c.enqueue(call)
}

// enqueue adds a call. c.mu must be held.
func (c *callbacks) enqueue(call func()) {
	c.queue = append(c.queue, call)
	if !c.running {
		c.running = true
		go c.run()
	}
}

func (c *callbacks) run() {
	for {
		c.mu.Lock()
		if len(c.queue) == 0 {
			c.queue, c.running = nil, false
			c.mu.Unlock()
			return
		}
		call := c.queue[0]
		c.queue = c.queue[1:]
		c.mu.Unlock()
		call()
	}
}

// lastWords is how long wait waits for the application's code. That code may itself be
// the caller, and would wait for ever.
const lastWords = time.Second

// wait returns when the application's code has handled all events until now, or after
// lastWords.
func (c *callbacks) wait() {
	done := make(chan struct{})
	c.mu.Lock()
	if !c.running {
		c.mu.Unlock()
		return
	}
	c.enqueue(func() { close(done) })
	c.mu.Unlock()
	t := time.NewTimer(lastWords)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
}

// logger returns a logger that queues calls of l's handler.
func (c *callbacks) logger(l *slog.Logger) *slog.Logger {
	return slog.New(calledBack{l.Handler(), c})
}

type calledBack struct {
	handler   slog.Handler
	callbacks *callbacks
}

// Enabled returns true: the handler decides when it is called.
func (h calledBack) Enabled(context.Context, slog.Level) bool { return true }

func (h calledBack) Handle(ctx context.Context, r slog.Record) error {
	r = r.Clone()
	ctx = context.WithoutCancel(ctx)
	h.callbacks.add(func() {
		h.tellDropped(ctx)
		if h.handler.Enabled(ctx, r.Level) {
			h.handler.Handle(ctx, r)
		}
	})
	return nil
}

func (h calledBack) tellDropped(ctx context.Context) {
	c := h.callbacks
	c.mu.Lock()
	dropped := c.dropped
	c.dropped = 0
	c.mu.Unlock()
	if dropped > 0 {
		slog.New(h.handler).WarnContext(ctx, "log messages and events dropped: a logger or listener takes too long", "dropped", dropped)
	}
}

func (h calledBack) WithAttrs(attrs []slog.Attr) slog.Handler {
	return calledBack{h.handler.WithAttrs(attrs), h.callbacks}
}

func (h calledBack) WithGroup(name string) slog.Handler {
	return calledBack{h.handler.WithGroup(name), h.callbacks}
}
