//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rehome/bot/sandbox"
	"rehome/conversation"
)

// The crash harness: `rehome serve`, in a process of its own over one store, is
// killed at random moments and started again, while Slack and the directory break
// off, stall and answer late, alerts come in, owners are told of them, and people
// press and type. Afterwards everything is as if nothing had happened: see judge.
//
//	crash_test.go          the run, and how long
//	crash_slack_test.go    a Slack and a directory that misbehave
//	crash_people_test.go   the people in it, who press and type
//	crash_owners_test.go   whose apps the alerts are about
//	crash_child_test.go    the process that is killed
//	crash_judge_test.go    what must be true in the end
//	crash_direct_test.go   and of direct messages, lists and reports
//	crash_writes_…_test.go the same, killed at each write to the disk in turn
//
// By hand, for as long as one likes, and again as it was:
//
//	REHOME_CRASH_FOR=10m go test ./cmd/rehome -run TestCrash -timeout 0 -v
//	REHOME_CRASH_SEED=7 go test ./cmd/rehome -run TestCrash -v
//
// A seed fixes what goes wrong when; how that falls together with what the
// program is at differs from run to run.

// How long is waited for Slack here, and how late it is. Slack may be as late as
// crashLate after our side has given up; crashSettle leaves room for a machine
// that is busy.
const (
	crashTimeout = 400 * time.Millisecond
	crashLate    = 800 * time.Millisecond
	crashSettle  = 2500 * time.Millisecond
)

// A crash is one run of the harness.
type crash struct {
	t      *testing.T
	seed   uint64
	slack  *hostile
	v      *victim
	store  string // the file
	settle time.Duration
	due    int // messages that may be still to come while alerts are sent
	most   int // messages to come of what is sent; 0: no end
	token  string

	mu    sync.Mutex
	sent  map[string]alert // those that were answered with 202
	taken map[string]int   // how often each was said to be new
	kills int
}

func TestCrash(t *testing.T) {
	seed := seedOf(t)
	untilClear(t, func(patience int) (*crash, *verdict) {
		return crashAtRandom(t, seed, patience)
	})
}

// crashAtRandom rages, lets all come to rest and judges; patience multiplies how
// long Slack's answers and their traces are waited for.
func crashAtRandom(t *testing.T, seed uint64, patience int) (*crash, *verdict) {
	long := lasting(t)
	c := newCrash(t, unchanged, seed, time.Duration(patience)*crashTimeout, time.Duration(patience)*crashSettle)
	c.due = 500
	if long == 0 {
		c.due, c.most = 200, 500
	}
	began := time.Now()
	// At least so much is done however slow the machine is, and no more than
	// that when nobody asked for it.
	c.rage(func() bool {
		return time.Since(began) >= long && (long > 0 || c.kills >= 20 && c.slack.posted.Load() >= 500)
	}, 3*time.Minute+long)
	raged := time.Since(began)
	c.calm(c.patience(long))
	v := c.judge()
	t.Logf("%s; in %s, and %s to come to rest", v, raged.Round(time.Second), (time.Since(began) - raged).Round(time.Second))
	if v.direct == 0 || v.lists == 0 || v.reports == 0 {
		v.wrong = append(v.wrong, "nobody was told in one of the ways there are, so that it is not shown of them")
	}
	return c, v
}

// untilClear fails the test with what is wrong in a run. A machine that stands
// still for a good part of the settle time makes a message late that the program
// was right to send again. So a run in which nothing is wrong but that messages
// are there twice is not taken for the program's fault at once: there is another
// one, with more patience. The third counts, whatever the machine did, and a run of
// many minutes counts at once.
func untilClear(t *testing.T, run func(patience int) (*crash, *verdict)) {
	t.Helper()
	for patience := 1; ; patience *= 2 {
		c, v := run(patience)
		stall := c.slack.stalled()
		if unclear := stall > c.settle/4 && v.doubled > 0 && v.doubled == len(v.wrong); unclear && patience < 4 && lasting(t) == 0 {
			t.Logf("this machine stood still for %s, longer than can be told from a fault of ours (%s): once more, with %d times the patience", stall, v.wrong[0], 2*patience)
			continue
		} else if unclear {
			t.Errorf("this machine stood still for %s: what follows may be due to that; run it again on a machine with less to do", stall)
		}
		for i, wrong := range v.wrong {
			if i == 20 {
				t.Errorf("and %d more", len(v.wrong)-i)
				break
			}
			t.Error(wrong)
		}
		return
	}
}

// Without what keeps messages from being doubled, the harness sees them doubled,
// in channels and in direct messages; else it would prove nothing.
func TestCrashSeesWhatANaiveProgramDoubles(t *testing.T) {
	for name, everywhere := range map[string]bool{
		resending: true,
		hasty:     false, // only now and then is what was sent not to be seen at once
	} {
		t.Run(name, func(t *testing.T) {
			c := newCrash(t, name, seedOf(t), crashTimeout, crashSettle)
			c.due = 200
			doubled := func() (channels, direct int64) {
				direct = c.slack.doubledDirect.Load()
				return c.slack.doubled.Load() - direct, direct
			}
			c.rage(func() bool {
				channels, direct := doubled()
				return channels > 0 && direct > 0 || channels+direct > 0 && !everywhere
			}, 2*time.Minute)
			channels, direct := doubled()
			t.Logf("seed %d: doubled %d messages in channels and %d in direct messages, of %d, %d kills", c.seed, channels, direct, c.slack.posted.Load(), c.kills)
			_ = c.v.end(syscall.SIGKILL)
		})
	}
}

// lasting is how long REHOME_CRASH_FOR wants the harness to run.
func lasting(t *testing.T) time.Duration {
	t.Helper()
	said := os.Getenv("REHOME_CRASH_FOR")
	if said == "" {
		return 0
	}
	d, err := time.ParseDuration(said)
	if err != nil {
		t.Fatalf("REHOME_CRASH_FOR: %v; write it as 10m", err)
	}
	return d
}

// patience is how long everything may take to come to rest. What was put off
// over and over waits for up to five minutes.
func (c *crash) patience(long time.Duration) time.Duration {
	if long > 0 {
		return 10 * time.Minute
	}
	return 3 * time.Minute
}

// seedOf is the seed that is asked for, or another one each time.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	if testing.Short() {
		t.Skip("it takes some twenty seconds, and -short was asked for")
	}
	seed := rand.Uint64N(1_000_000)
	if said := os.Getenv("REHOME_CRASH_SEED"); said != "" {
		var err error
		if seed, err = strconv.ParseUint(said, 10, 64); err != nil {
			t.Fatalf("REHOME_CRASH_SEED: %v; write a number", err)
		}
	}
	t.Logf("REHOME_CRASH_SEED=%d", seed)
	return seed
}

func newCrash(t *testing.T, program string, seed uint64, timeout, settle time.Duration) *crash {
	t.Helper()
	dir := shortDir(t)
	c := &crash{t: t, seed: seed, settle: settle, store: filepath.Join(dir, "s.db"), token: "crash-canary", sent: map[string]alert{}, taken: map[string]int{}}
	c.slack = newHostile(t, seed, lasting(t) >= 2*time.Minute)
	config := filepath.Join(dir, "rehome.yaml")
	if err := os.WriteFile(config, []byte(crashSettings(timeout, settle)), 0o600); err != nil {
		t.Fatal(err)
	}
	c.v = &victim{t: t, name: program, up: c.slack.reachAt, env: []string{
		"SLACK_API_URL=" + c.slack.api, "SLACK_BOT_TOKEN=" + botToken, "SLACK_APP_TOKEN=", "SLACK_SIGNING_SECRET=" + signing,
		"REHOME_CONFIG=" + config, "REHOME_STORE=bolt:" + c.store, "REHOME_LISTEN=127.0.0.1:0", "REHOME_INTAKE_TOKEN=" + c.token,
	}}
	c.v.env = append(c.v.env, c.slack.directoryEnv()...)
	t.Cleanup(c.v.kill)
	if c.slack.socket {
		c.v.env = append(c.v.env, "SLACK_APP_TOKEN="+appToken, "SLACK_SIGNING_SECRET=")
	}
	return c
}

func crashSettings(timeout, settle time.Duration) string {
	var s strings.Builder
	fmt.Fprintf(&s, "slack: {timeout: %s, settle: %s, unlimited: true}\n", timeout, settle)
	fmt.Fprintf(&s, "securityChannel: %s\ntelling: {gather: %s, alone: %d, quiet: {off: true}}\nroutes:\n", crashSecurity, crashGather, crashAlone)
	for _, p := range places {
		if p.party == "" { // the others of the channel fit the same rule
			fmt.Fprintf(&s, "  - {title: %q, cloud: %s, channel: %s}\n", p.title, p.cloud, p.channel)
		}
	}
	return s.String()
}

// rage kills and starts the program, with all that goes wrong around it, until
// enough says so. It leaves a process running.
func (c *crash) rage(enough func() bool, within time.Duration) {
	ctx, stop := context.WithTimeout(c.t.Context(), within)
	defer stop()
	c.slack.wild.Store(true)
	sending, quiet := context.WithCancel(ctx)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() { c.send(sending, i) })
	}
	defer all.Wait()
	defer quiet()
	r := rand.New(rand.NewPCG(c.seed, 1))
	for ctx.Err() == nil {
		if err := c.v.start(ctx); err != nil {
			c.t.Fatal(err)
		}
		if enough() {
			return
		}
		f := nextFate(r)
		if c.most > 0 && c.kills >= 20 {
			f = fate{lives: crashSettle + time.Second} // enough kills; it is the messages that are waited for
		}
		if err := c.v.live(ctx, f); err != nil {
			c.t.Fatal(err)
		}
		c.kills++
	}
	c.t.Fatalf("it was not enough within %s: %d messages, %d kills", within, c.slack.posted.Load(), c.kills)
}

// calm lets everything come to rest, with a Slack that does as it should, and
// stops the program in order.
func (c *crash) calm(within time.Duration) {
	ctx, stop := context.WithTimeout(c.t.Context(), within)
	defer stop()
	c.slack.wild.Store(false)
	c.settled(ctx)
	if err := c.v.end(syscall.SIGTERM); err != nil {
		c.t.Fatalf("asked to stop, it says %v:\n%s", err, c.v.last())
	}
}

// settled waits until everything is answered and said, and sends the people home.
func (c *crash) settled(ctx context.Context) {
	c.t.Helper()
	c.awaitReplies(ctx)
	c.awaitTold(ctx)
	c.awaitEmpty(ctx)
	c.awaitShown(ctx)
	c.slack.rest()
	c.awaitEmpty(ctx)
}

// awaitEmpty waits until nothing waits to be said.
func (c *crash) awaitEmpty(ctx context.Context) {
	c.t.Helper()
	var left []waiting
	for ctx.Err() == nil {
		if r, ok := dialBeside(c.store); ok {
			var err error
			left, err = r.outbox(ctx, false)
			_ = r.Close()
			if err == nil && len(left) == 0 {
				return
			}
		}
		wait(ctx, 50*time.Millisecond)
	}
	c.t.Fatalf("%d deliveries still wait, the first is %+v", len(left), left[:min(1, len(left))])
}

// awaitReplies waits until every question of every alert has its answer.
func (c *crash) awaitReplies(ctx context.Context) {
	c.t.Helper()
	for ctx.Err() == nil {
		if r, ok := dialBeside(c.store); ok {
			all, err := r.list(ctx)
			_ = r.Close()
			if err == nil && !slices.ContainsFunc(all, func(l listed) bool { return l.Status == "asking" || l.Status == "looking" }) {
				return
			}
		}
		wait(ctx, 200*time.Millisecond)
	}
	c.t.Fatal("there are questions that nobody ever answered")
}

// awaitShown waits until the people see that everything they did has worked.
func (c *crash) awaitShown(ctx context.Context) {
	c.t.Helper()
	for c.slack.wishes.Load() > 0 {
		if wait(ctx, 20*time.Millisecond); ctx.Err() != nil {
			c.t.Fatalf("people did %d things of which nothing is to be seen", c.slack.wishes.Load())
		}
	}
}

// awaitTold waits until it is known whose every app is, and they were told.
func (c *crash) awaitTold(ctx context.Context) {
	c.t.Helper()
	done := map[string]bool{}
	var missing conversation.Conversation
	for ctx.Err() == nil {
		if r, ok := dialBeside(c.store); ok {
			all, err := r.list(ctx)
			missing = conversation.Conversation{}
			for _, l := range all {
				if done[l.ID] {
					continue
				}
				s, asked := r.show(ctx, l.ID)
				conv := s.Conversation
				if asked != nil || conv.Looking || conv.Lacks != conversation.LackNothing || slices.ContainsFunc(conv.Owners, func(o conversation.Owner) bool { return o.State == conversation.ToBeTold }) {
					missing = conv
					break
				}
				done[l.ID] = true
			}
			_ = r.Close()
			if err == nil && missing.ID == "" {
				return
			}
		}
		wait(ctx, 200*time.Millisecond)
	}
	c.t.Fatalf("the owners of %s, and perhaps others, were never told: %+v, looked for in %v", missing.ID, missing.Owners, missing.Hops)
}

// send delivers alerts, each until it is taken in, as senders do.
func (c *crash) send(ctx context.Context, sender int) {
	r := rand.New(rand.NewPCG(c.seed, 100+uint64(sender)))
	for n := 0; ctx.Err() == nil; n++ {
		if due, all := c.backlog(); due > c.due || c.most > 0 && all > c.most {
			wait(ctx, 20*time.Millisecond)
			continue
		}
		several := map[string]alert{}
		for i, a := range nextAlerts(r) {
			several[fmt.Sprintf("CRASH-%d-%d-%d", sender, n, i)] = a
		}
		// Once begun, an alert is delivered to the end, so that what came of it is known.
		for times := 1 + r.IntN(8)/7; times > 0; {
			if c.sendOnce(several) {
				times--
				continue
			}
			if ctx.Err() != nil && c.v.address() == "" {
				return // nobody is there any more, and it was not taken in
			}
			wait(ctx, 20*time.Millisecond)
		}
		wait(ctx, time.Duration(r.IntN(60))*time.Millisecond)
	}
}

// backlog is about how many messages are still to be posted in channels, and of
// how many. What owners are told comes on top.
func (c *crash) backlog() (due, all int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.sent {
		all += len(a.cards())
	}
	return all - int(c.slack.posted.Load()), all
}

// A place is a kind of alert. It is worked in its channel.
type place struct{ channel, title, cloud, party string }

var places = func() (all []place) {
	for _, title := range []string{"AAD Entra Apps in Prod Tenants using certificates in Non-Prod Tenant", "AAD Entra Apps cloud mismatches with Cert Cloud"} {
		for _, cloud := range []string{"Public", "Fairfax", "Mooncake"} {
			for _, party := range []string{"", "1P", "3P"} {
				all = append(all, place{fmt.Sprintf("C0CRASH%d%s", len(title), strings.ToUpper(cloud)), title, cloud, party})
			}
		}
	}
	return all
}()

// crashChannels are the channels of places, each once, and the security channel.
func crashChannels() []sandbox.Channel {
	byID := map[string]sandbox.Channel{crashSecurity: {ID: crashSecurity, Name: "security", BotMember: true}}
	for _, p := range places {
		byID[p.channel] = sandbox.Channel{ID: p.channel, Name: strings.ToLower(p.channel), BotMember: true}
	}
	return slices.SortedFunc(maps.Values(byID), func(a, b sandbox.Channel) int { return strings.Compare(a.ID, b.ID) })
}

// sendOnce delivers alerts as CloudEvents in one request, and reports whether they
// were taken in.
func (c *crash) sendOnce(several map[string]alert) bool {
	url := c.v.address()
	if url == "" {
		return false
	}
	var events []map[string]any
	for _, id := range slices.Sorted(maps.Keys(several)) {
		a := several[id]
		app := map[string]any{"displayName": "Contoso " + id, "cloud": a.cloud, "party": a.party}
		if a.appID != "" {
			app["appId"] = a.appID
		}
		events = append(events, map[string]any{
			"specversion": "1.0", "type": "com.contoso.rehome.violation.detected.v1", "source": "/contoso/crash", "id": "event-" + id,
			"data": map[string]any{"id": id, "source": map[string]any{"system": "other"}, "title": a.title, "app": app, "owner": a.named},
		})
	}
	batch, err := json.Marshal(events)
	if err != nil {
		c.t.Error(err)
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/violations", bytes.NewReader(batch))
	if err != nil {
		c.t.Error(err)
		return true
	}
	req.Close = true
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Content-Type", "application/cloudevents-batch+json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false // it was killed meanwhile
	}
	defer func() { _ = resp.Body.Close() }()
	said, err := io.ReadAll(resp.Body)
	if resp.StatusCode == http.StatusServiceUnavailable {
		return false // a busy machine; it is not taken in, and comes again
	}
	if resp.StatusCode != http.StatusAccepted {
		c.t.Errorf("an alert was answered %s: %s", resp.Status, said)
		return err == nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.Copy(c.sent, several) // the status alone says that they are in
	var answer struct{ Accepted int }
	if err != nil || json.Unmarshal(said, &answer) != nil || answer.Accepted == 0 {
		return true
	}
	if answer.Accepted != len(several) {
		c.t.Errorf("%d of %d alerts that came together were new", answer.Accepted, len(several))
	}
	for id := range several {
		c.taken[id]++
	}
	return true
}
