package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// crew is goroutines with names: when one fails all are told to end, and whoever
// waits for them can say which have not.
type crew struct {
	fail func(error) // tells all to end; the first reason counts

	wait sync.WaitGroup
	mu   sync.Mutex
	busy map[string]int
}

// begin runs f beside the others.
func (c *crew) begin(name string, f func() error) {
	c.mark(name, 1)
	c.wait.Go(func() {
		defer c.mark(name, -1)
		if err := f(); err != nil {
			c.fail(err)
		}
	})
}

func (c *crew) mark(name string, by int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy == nil {
		c.busy = map[string]int{}
	}
	if c.busy[name] += by; c.busy[name] == 0 {
		delete(c.busy, name)
	}
}

// left names those that have not ended.
func (c *crew) left() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.busy))
}

// leftBehind is the error of an end that took too long.
type leftBehind struct {
	who    []string
	within time.Duration
}

func (l *leftBehind) Error() string {
	return fmt.Sprintf("did not end within %s: %s; what was acknowledged is in the store, and goes on with the next start", l.within, strings.Join(l.who, ", "))
}

// stopWithin is how long everything may take to come to an end. Service
// managers wait 30 seconds before they kill (deploy/rehome.service).
const stopWithin = 10 * time.Second

// run delivers, listens to Slack where a token for that is there, answers
// beside the store, and runs more, until ctx ends or one of them fails. It
// returns when all have ended, or with what was left when that takes too long.
//
// The end has an order. First no new work is taken: HTTP answers 503 with
// Retry-After, the sockets are read no more. What is under way is finished: what
// was read is written down and acknowledged, requests to Slack get their answer
// and are settled. Then HTTP ends, in front of which senders still had an answer,
// and the caller closes the store.
func (a *assembly) run(ctx context.Context, more ...func(context.Context) error) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var once sync.Once
	var failure error
	c := &crew{fail: func(err error) {
		once.Do(func() { failure = err })
		fail(err)
	}}
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	doors := &crew{fail: c.fail}
	// First, so that whoever is told that the bot is up finds it there.
	if l := listenBeside(ctx, a.path, a.log); l != nil {
		doors.begin("the socket beside the store", func() error {
			return answerBeside(serving, l, a.path, direct{a.store, a.intake}, a.ready(doctorWithin), a.log)
		})
	}
	for _, f := range more {
		doors.begin("HTTP", func() error { return f(serving) })
	}
	c.begin("deliveries", func() error { return a.bot.Run(ctx) })
	c.begin("Home tabs", func() error { a.doors.RunHomes(ctx); return nil })
	c.begin("deciding anew what another policy decided", func() error { a.rule(ctx); return nil })
	c.begin("watching the store", func() error { return a.store.Watch(ctx) })
	c.begin("asking Slack who we are", func() error { return a.identify(ctx) })
	if a.keep > 0 {
		c.begin("forgetting what is over", func() error { return forgetOld(ctx, a.store, a.keep, time.Now, a.log) })
	}
	c.begin("looking after everything", func() error { return a.keepLooking(ctx) })
	if a.slack.AppToken != "" {
		c.begin("Socket Mode", func() error { return a.doors.RunSocket(ctx) })
	}

	<-ctx.Done()
	a.stopping.Store(true)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.wait.Wait()
		stopServing()
		doors.wait.Wait()
	}()
	late := time.NewTimer(a.stopWithin)
	defer late.Stop()
	select {
	case <-ended:
		return failure
	case <-late.C:
		a.abandoned = true
		return &leftBehind{append(c.left(), doors.left()...), a.stopWithin}
	}
}
