package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"rehome/bot"
	"rehome/bot/entra"
	"rehome/bot/intake"
	"rehome/bot/slackapp"
	"rehome/policy"
	"rehome/store/bolt"
)

// parts is everything a running bot is made of. demo and serve differ only in
// what they put in.
type parts struct {
	path    string        // of the store's file
	room    bolt.Options  // what its settings say
	keep    time.Duration // how long what is over is kept; 0 for ever
	policy  *policy.Policy
	slack   slackapp.Options
	signed  []string // signing secrets; none for no HTTP door
	sockets int      // connections for Socket Mode, 1 or 2; 0: two
	log     *slog.Logger

	door      intake.Door // who may send alerts; its Intake is filled in
	router    router
	directory *entra.Directory // nil: none is configured
	ownership bot.Ownership
	manners   bot.Manners
	triage    string   // channel that alerts are worked in, when the settings name one
	security  string   // channel that hears who could not be told
	listened  []string // channels in which other apps' messages are alerts
	links     []string // addresses that make a message an alert

	settle     time.Duration // 0: the bot's own
	atMostOnce bool          // give up what may have been sent where history may not be read
	unlimited  bool          // the workspace has no limit on how fast it is written to
}

// assembly is a bot put together, with its store open.
type assembly struct {
	parts
	store  *bolt.Store
	chat   *slackapp.Chat
	bot    *bot.Bot
	doors  *slackapp.Doors
	intake *intake.Intake
	alerts *intake.Door

	stopWithin time.Duration // how long the end may take
	stopping   atomic.Bool   // no new work is taken
	abandoned  bool          // something did not end in time, and may still use the store

	asking  *inquiries
	reached asked[slackapp.Standing] // how Slack answered last
	rooms   rooms
	changes changes
}

// assemble opens the store and connects nothing. Whoever gets an assembly must
// close it; the directory is closed with it, or when there is none.
func assemble(p parts) (_ *assembly, err error) {
	a := &assembly{parts: p, stopWithin: stopWithin, asking: newInquiries()}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	p.slack.Unlimited = p.unlimited
	if a.chat, err = slackapp.NewChat(p.slack); err != nil {
		return nil, err
	}
	p.room.Log = p.log
	if a.store, err = openStore(p.path, p.room); err != nil {
		return nil, err
	}
	b := bot.Bot{Policy: p.policy, Store: a.store, Chat: a.chat, People: a.chat, Ownership: p.ownership, Manners: p.manners,
		SecurityChannel: p.security, AtMostOnce: p.atMostOnce, Unlimited: p.unlimited, Settle: p.settle, Log: p.log}
	if p.directory != nil {
		b.Directory = p.directory
	}
	a.bot = bot.New(b)
	a.doors, err = slackapp.New(slackapp.Doors{Bot: a.bot, Chat: a.chat, SigningSecrets: p.signed, AlertChannels: p.listened, AlertLinks: p.links, Sockets: p.sockets, Log: p.log})
	if err != nil {
		return nil, err
	}
	a.intake = &intake.Intake{Bot: a.bot, Infer: p.policy.Infer, Route: p.router.by(p.policy)}
	p.door.Intake, p.door.Log = a.intake, p.log
	a.alerts, err = intake.NewDoor(p.door)
	return a, err
}

// rule brings what is open up to date with the policy and the tenant map that
// this start has. That it failed is no reason to stop: each reply says by which
// policy it was made.
func (a *assembly) rule(ctx context.Context) {
	n, err := a.bot.Rule(ctx)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		a.log.Error("what another policy decided may still stand; it is tried again at the next start", "err", err)
	case n > 0:
		a.log.Info("decided anew, by another policy or tenant map than before", "conversations", n)
	}
}

func (a *assembly) close() error {
	if a.directory != nil {
		a.directory.Close()
	}
	a.asking.end()
	if a.chat != nil {
		a.chat.Close()
	}
	if a.store == nil || a.abandoned {
		return nil // as after a crash: the file is whole at every moment
	}
	return a.store.Close()
}

// untilSignal ends with ctx, or when the process is asked to stop. A second
// signal ends the process at once: nobody listens for it any more when the first
// takes effect.
func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, os.Interrupt, syscall.SIGTERM)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-asked:
		case <-ctx.Done():
		}
		signal.Stop(asked)
		cancel()
	}()
	return ctx, func() {
		cancel()
		<-ended
	}
}

// listen opens a TCP port, or says which flag names another.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is in use by another program; stop that one, or choose another address with --listen (%s)", addr, "127.0.0.1:0 takes any free port")
	}
	if err != nil {
		return nil, fmt.Errorf("%w; --listen takes host:port, such as %s", err, defaultListen)
	}
	return l, nil
}

// shutWithin is how long requests under way may still take.
const shutWithin = 3 * time.Second

// serveUntil serves until ctx ends, lets requests under way finish, and returns
// when they have.
func serveUntil(ctx context.Context, server *http.Server, l net.Listener) error {
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutWithin)
	defer cancel()
	if err := server.Shutdown(wait); err != nil {
		_ = server.Close() // whoever is left had their time
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
