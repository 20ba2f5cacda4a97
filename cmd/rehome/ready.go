package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"rehome/bot/slackapp"
	"rehome/store"
)

// Whether the bot can do its work is said at /readyz, component by component:
//
//	{"status": "not ready", "components": [
//	  {"component": "store", "state": "ok"},
//	  {"component": "slack", "state": "token_revoked", "what": "…", "fix": "…", "age": "3s"}
//	]}
//
// A probe is answered within probeWithin, whatever Slack does: with what is known
// of Slack, which says how long ago Slack said it. It is 503 when something is amiss without which there is no work: the store, a
// token that Slack takes, a way in from Slack, the right to post, the triage
// channel. Whatever else is amiss is said, and the answer is 200. The log has a
// line for each change, however often somebody asks or nobody does.

// A component is a part of what the bot needs.
type component struct {
	Name  string `json:"component"`
	State string `json:"state"` // ok, or a code: Slack's own where it has one
	What  string `json:"what,omitempty"`
	Fix   string `json:"fix,omitempty"`
	Age   string `json:"age,omitempty"` // how long ago Slack said so, in whole seconds; "" where it needs no asking

	Needed bool `json:"needed,omitempty"` // without it there is no work
}

// An answered is what /readyz says, and GET /ready beside the store.
type answered struct {
	Status     string
	Components []component
}

const (
	stateOK      = "ok"
	stateAsking  = "asking" // Slack was never heard of it
	statusReady  = "ready"
	statusUnwell = "not ready"
	statusEnding = "stopping"
)

func (c component) ok() bool { return c.State == stateOK }

// Kubernetes gives a probe one second, unless it is told otherwise; whoever asks
// beside the store wants the whole answer.
const (
	probeWithin  = 500 * time.Millisecond
	doctorWithin = 10 * time.Second
)

// ready answers how everything is, and waits for Slack no longer than within.
func (a *assembly) ready(within time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		// Whoever asked may go away; that says nothing about any component.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), within)
		defer cancel()
		a.sayReady(w, a.look(ctx))
	}
}

func (a *assembly) sayReady(w http.ResponseWriter, all []component) {
	status := statusReady
	if slices.ContainsFunc(all, func(c component) bool { return c.Needed && !c.ok() }) {
		status = statusUnwell
	}
	if a.stopping.Load() {
		status = statusEnding
	}
	w.Header().Set("Content-Type", "application/json")
	if status != statusReady {
		w.Header().Set("Retry-After", retryAfter)
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = w.Write(readiness(status, all)) // whoever asked has gone
}

// readiness is JSON with a line for each component.
func readiness(status string, all []component) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "{\"status\": %q, \"components\": [", status)
	for i, c := range all {
		line, err := json.Marshal(c)
		if err != nil {
			continue // unreachable: texts
		}
		b.WriteString(map[bool]string{true: "\n  ", false: ",\n  "}[i == 0])
		b.Write(line)
	}
	b.WriteString("\n]}\n")
	return b.Bytes()
}

// alive answers /healthz: 200 while the process can go on. A store that could
// not tell whether something was written writes no more, and only a new start
// helps.
func alive(failed func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if failed() != nil {
			http.Error(w, "the store has failed; restart rehome", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	}
}

// look finds out how all components are, and logs what has changed. When ctx ends
// it waits for Slack no more.
func (a *assembly) look(ctx context.Context) []component {
	all := []component{a.storeState(context.WithoutCancel(ctx))} // it waits for nobody
	slack, scopes := a.slackState(ctx)
	all = append(all, slack)
	if slack.ok() {
		all = append(all, scopes)
	}
	if slack.ok() && scopes.ok() {
		all = append(all, sendingState(a.bot.Halted()))
	}
	if a.slack.AppToken != "" {
		all = append(all, a.socketState())
	}
	if slack.ok() {
		all = append(all, a.channelStates(ctx)...)
	}
	a.changes.say(a.log, all)
	return all
}

func (a *assembly) storeState(ctx context.Context) component {
	c := component{Name: "store", State: stateOK, Needed: true}
	err := a.store.Err()
	if err == nil {
		if _, err = a.store.Get(ctx, "RH-0"); errors.Is(err, store.ErrNotFound) {
			err = nil
		}
	}
	room := a.store.Room()
	switch {
	case err == nil && room != nil:
		c.State, c.What, c.Fix = "full", "no new alerts are taken in: "+oneLine(room.Error()), "make room on its disk, and it goes on by itself; or raise room.maxMiB in rehome.yaml, if that is the limit"
	case errors.Is(err, store.ErrUncertain):
		c.State, c.What, c.Fix = "failed", "it is unknown whether the last write is on disk, so nothing more is written", "restart rehome, and look at the disk; what was acknowledged is there"
	case err != nil:
		c.State, c.What, c.Fix = "unreadable", "the store cannot be read", "see rehome check and the log; restore a backup if the file is damaged"
	}
	return c
}

// slackState is whether Slack is there and takes our token, and what that may do.
func (a *assembly) slackState(ctx context.Context) (slack, scopes component) {
	said := a.reached.ask(ctx, a.asking, a.chat.Stand, reachedFor, unreachedFor)
	slack, scopes = component{Name: "slack", State: stateOK, Age: said.age(), Needed: true}, component{Name: "scopes", State: stateOK, Age: said.age()}
	switch {
	case said.at.IsZero():
		slack.State, slack.What, slack.Fix = stateAsking, "Slack has not answered yet", "wait a moment"
		return slack, scopes
	case said.err != nil:
		code, needed := slackapp.CodeOf(said.err)
		slack.State = code
		if errors.Is(said.err, slackapp.ErrTokenRefused) {
			slack.What, slack.Fix = strings.TrimSpace("Slack refuses the bot token "+needed), slackapp.TokenFix(code)
		} else {
			slack.What, slack.Fix = "Slack cannot be reached", "check name resolution, proxy and firewall; everything waits meanwhile"
		}
		return slack, scopes
	}
	if missing := said.is.Missing(); len(missing) > 0 {
		scopes.Needed = slices.Contains(missing, "chat:write")
		scopes.State, scopes.What, scopes.Fix = "missing_scope", "the bot token lacks "+strings.Join(missing, ", "), slackapp.TokenFix("missing_scope")
	}
	return slack, scopes
}

// sendingState is whether Slack takes what the bot sends, which it may not do
// though it knows the token: a workspace can shut an app out. code is Slack's
// reason, "" for none.
func sendingState(code string, since time.Time) component {
	if code == "" {
		return component{Name: "sending", State: stateOK, Needed: true}
	}
	return component{
		Name: "sending", State: code, Needed: true,
		What: "Slack has taken no message since " + since.UTC().Format("2006-01-02 15:04Z") + "; everything waits, and one is tried a minute",
		Fix:  slackapp.TokenFix(code),
	}
}

func (a *assembly) socketState() component {
	s := a.doors.SocketState()
	c := component{Name: "socket", State: stateOK, What: fmt.Sprintf("%d of %d connections", s.Up, s.Want), Needed: len(a.signed) == 0}
	if s.Up == 0 {
		c.State, c.What, c.Fix = cmp.Or(s.Code, "connecting"), "Socket Mode is not connected", cmp.Or(slackapp.SocketFix(s), "wait a moment")
	}
	return c
}

// A named channel is one that the settings name, and as what.
type namedChannel struct {
	id, as string
	posted bool // the bot writes there; else it only listens
}

// channels are those the settings name, each once: the triage channel first.
func (p *parts) channels() []namedChannel {
	var all []namedChannel
	add := func(id, as string, posted bool) {
		if id != "" && !slices.ContainsFunc(all, func(c namedChannel) bool { return c.id == id }) {
			all = append(all, namedChannel{id, as, posted})
		}
	}
	add(p.triage, "triage", true)
	add(p.security, "security", true)
	for _, r := range p.router.rules {
		add(r.Channel, "route", true)
	}
	for _, id := range p.listened {
		add(id, "alerts", true)
	}
	return all
}

// channelStates asks about all channels at once: one that Slack is slow about
// does not hold up the others.
func (a *assembly) channelStates(ctx context.Context) []component {
	named := a.channels()
	all := make([]component, len(named))
	var wg sync.WaitGroup
	for i, c := range named {
		wg.Go(func() { all[i] = a.channelState(ctx, c) })
	}
	wg.Wait()
	return all
}

// channelState is whether a channel is there and we are in it.
func (a *assembly) channelState(ctx context.Context, named namedChannel) component {
	said := a.rooms.of(named.id).ask(ctx, a.asking, func(ctx context.Context) (slackapp.Channel, error) { return a.chat.Channel(ctx, named.id) }, roomFor, reachedFor)
	c := component{Name: "channel " + named.id, State: stateOK, What: named.as, Age: said.age(), Needed: named.as == "triage"}
	if said.at.IsZero() {
		c.State, c.What, c.Fix = stateAsking, "Slack has not said yet how the "+named.as+" channel is", "wait a moment"
		c.Needed = false
		return c
	}
	if code, fix := slackapp.ChannelFix(said.is, said.err); code != "" {
		c.State, c.What, c.Fix = code, "the "+named.as+" channel cannot be used", fix
		if passing(said.err, code) {
			c.Needed = false // Slack would not say just now
		}
	}
	return c
}

// passing reports whether Slack did not say how a channel is.
func passing(err error, code string) bool {
	return err != nil && code != "channel_not_found" && code != "missing_scope"
}

// changes remembers how components were, so that each change is logged once.
type changes struct {
	mu   sync.Mutex
	last map[string]string
}

// say logs what has changed. The doors say themselves how Socket Mode is.
func (c *changes) say(log logger, all []component) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		c.last = map[string]string{}
	}
	for _, now := range all {
		if now.State == stateAsking {
			continue // it is about to be known
		}
		before := cmp.Or(c.last[now.Name], stateOK)
		state := now.State
		if !now.ok() {
			state += now.What
		}
		c.last[now.Name] = state
		switch {
		case now.Name == "socket" || state == before:
		case now.ok():
			log.Info("well again", "component", now.Name)
		default:
			log.Warn("amiss", "component", now.Name, "state", now.State, "what", now.What, "fix", now.Fix)
		}
	}
}

type logger interface {
	Info(msg string, args ...any)
	Warn(msg string, args ...any)
}

// lookEvery is how often it is found out how everything is when nobody asks.
const lookEvery = 30 * time.Second

// keepLooking logs how components change, until ctx ends.
func (a *assembly) keepLooking(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			a.look(ctx)
		}
	}
}

// identify asks Slack at the start who we are. A token that is refused ends the
// bot; a Slack that is away may come back, and /readyz says so meanwhile.
func (a *assembly) identify(ctx context.Context) error {
	self, err := a.chat.Identify(ctx)
	switch {
	case ctx.Err() != nil:
		return nil //nolint:nilerr // our own end
	case errors.Is(err, slackapp.ErrTokenRefused):
		return err
	case err != nil:
		a.log.Warn("Slack does not answer; it is tried again with everything there is to say", "err", err)
		return nil //nolint:nilerr // it may come back
	}
	a.log.Info("Slack knows us", "workspace", self.Team, "team", self.TeamID, "bot", self.UserID)
	a.look(ctx)
	return nil
}
