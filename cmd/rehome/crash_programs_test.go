package main

import (
	"context"
	"os"
	"time"

	"rehome/bot"
	"rehome/store"
)

// Names under which this test's program runs `rehome serve`: as it is, and as
// it would be with a mistake.
const (
	unchanged = "rehome"
	resending = "rehome-resending" // forgets that a message may have been sent
	hasty     = "rehome-hasty"     // looks for it at once
)

// changed runs the program with a bot that is another one.
func changed(change func(*bot.Bot)) func() {
	return func() {
		p := &program{env: os.Getenv, stdio: stdio{os.Stdin, os.Stdout, os.Stderr}, now: time.Now, change: change}
		os.Exit(p.run(context.Background(), os.Args[1:]))
	}
}

// forgetful is a store that does not keep what was begun.
type forgetful struct{ store.Store }

func (forgetful) Begin(context.Context, store.Delivery, time.Time) error { return nil }

var programs = map[string]func(){
	unchanged: main,
	resending: changed(func(b *bot.Bot) { b.Store = forgetful{b.Store} }),
	hasty:     changed(func(b *bot.Bot) { b.Settle = time.Nanosecond }),
}
