package main

import (
	"cmp"
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rehome/bot"
	"rehome/bot/sandbox"
	"rehome/bot/slackapp"
	"rehome/policy"
)

// demoAlerts are the sample alerts. Times are written as «+10d» or «-3d», and
// «+10d unix» for seconds, so that a demo is never out of date.
//
//go:embed demo/alerts.ndjson
var demoAlerts string

// demoTenants names the tenants whose ids the sample alerts carry.
//
//go:embed demo/tenants.json
var demoTenants []byte

// The demo's people and channels. Everybody is fictional.
const (
	rivera = "U0RIVERA1"
	okafor = "U0OKAFOR2"
	lindqv = "U0LINDQV3"

	general = "C0GENERAL1"
	triage  = "C0TRIAGE01"
	random  = "C0RANDOM01"
)

type demoInput struct {
	listen, alerts string
	verbose        bool
}

func (p *program) demoCommand() *cobra.Command {
	var in demoInput
	c := &cobra.Command{
		Use:   "demo",
		Short: "See the bot at work in your browser; needs no account and no network",
		Long: `demo runs the real bot against a Slack-compatible workspace and a directory in the
same process, with sample alerts, and prints the address of a page that looks and
works like Slack. Alerts come in by POST /v1/violations at the same address, with
the token it prints (or REHOME_INTAKE_TOKEN). Nothing leaves this machine. Ctrl-C
ends it, and everything is gone.`,
		Example: `  rehome demo
  rehome demo --alerts alerts.ndjson       with alerts of your own
  tail -f feed.ndjson | rehome demo --alerts -`,
		Args: args(0, 0, "flags only"),
		RunE: func(c *cobra.Command, _ []string) error { return p.demo(c.Context(), in) },
	}
	checkedFlag(c, &in.listen, "listen", "`address` of the page (REHOME_LISTEN; default "+defaultListen+")", checkListen)
	c.Flags().StringVar(&in.alerts, "alerts", "", "`file` with alerts instead of the samples (NDJSON or JSON); - for standard input")
	c.Flags().BoolVarP(&in.verbose, "verbose", "v", false, "print the bot's log")
	return c
}

func (p *program) demo(ctx context.Context, in demoInput) (err error) {
	ctx, stop := untilSignal(ctx)
	defer stop()
	feed, err := p.demoFeed(in.alerts)
	if err != nil {
		return err
	}
	defer func() { _ = feed.Close() }()
	parts, forget, err := p.demoParts(in)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, forget()) }()
	l, err := listen(ctx, cmp.Or(in.listen, p.env("REHOME_LISTEN"), defaultListen))
	if err != nil {
		return err
	}
	box, err := boxUp(ctx, l, &parts) //nolint:contextcheck // it ends with close, after the bot that talks to it
	if err != nil {
		return err
	}
	defer box.close()
	a, err := assemble(parts) //nolint:contextcheck // opening a store is not cut short
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	box.slack.serve(a)
	return a.run(ctx, func(ctx context.Context) error {
		fmt.Fprintf(p.out, "The workspace is at %s/\n\n", box.slack.url)
		to := newSender(box.slack.url+"/v1/violations", a.door.Tokens[0])
		to.samples = in.alerts == ""
		p.report(ctx, to.sendAll(ctx, feed), whatToTry{a.path, to})
		fmt.Fprintln(p.out, "\nStopped.")
		return nil
	})
}

// box is what the demo has instead of the world: a workspace and a directory.
type box struct {
	slack     *workspace
	directory *directoryInABox
}

// boxUp makes a workspace that will be reached through l, and a directory, and
// points the bot's parts at them.
func boxUp(ctx context.Context, l net.Listener, out *parts) (_ *box, err error) {
	b := &box{}
	defer func() {
		if err != nil {
			b.close()
			err = errors.Join(err, l.Close())
		}
	}()
	if b.slack, err = openWorkspace(l); err != nil { //nolint:contextcheck // a workspace lives until it is closed
		return nil, err
	}
	own, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	if b.directory, err = openDirectory(own); err != nil {
		return nil, errors.Join(err, own.Close())
	}
	if out.directory, err = b.directory.lookUp(); err != nil {
		return nil, err
	}
	out.slack.APIURL, out.slack.BotToken, out.slack.AppToken = b.slack.url+"/api/", b.slack.botToken, b.slack.appToken
	return b, nil
}

func (b *box) close() {
	if b.slack != nil {
		b.slack.close()
	}
	if b.directory != nil {
		b.directory.close()
	}
}

// demoFeed opens what the alerts are read from.
func (p *program) demoFeed(file string) (io.ReadCloser, error) {
	if file == "" {
		return io.NopCloser(strings.NewReader(asOf(demoAlerts, p.now()))), nil
	}
	if in, ok := p.in.(io.ReadCloser); ok && file == "-" {
		return in, nil // closing it ends a read that waits for more
	}
	r, _, err := p.open(file)
	return r, err
}

// demoParts are the settings of a demo: those of this machine's policy, and a
// store that forget removes.
func (p *program) demoParts(in demoInput) (out parts, forget func() error, err error) {
	forget = func() error { return nil }
	s, err := p.settings()
	if err != nil {
		return out, forget, err
	}
	if len(s.tenants) == 0 {
		if s.tenants, err = policy.ParseTenants(demoTenants); err != nil {
			return out, forget, err // unreachable: a test reads it
		}
	}
	if out.policy, err = s.policy(); err != nil {
		return out, forget, err
	}
	out.log = slog.New(slog.DiscardHandler)
	if in.verbose {
		out.log = p.logger(s.Log)
	}
	// The workspace in the box has no limit on how fast a channel is written to,
	// and nobody in it sleeps.
	out.unlimited = true
	out.manners = bot.Manners{Window: 500 * time.Millisecond, Quiet: bot.Quiet{Off: true}}
	out.router = router{other: triage}
	out.triage, out.security = triage, triage
	if out.door, err = p.door(s); err != nil {
		return out, forget, err
	}
	if len(out.door.Tokens) == 0 {
		out.door.Tokens = []string{rand.Text()}
	}
	dir, err := os.MkdirTemp("", "rehome-demo-")
	if err != nil {
		return out, forget, err
	}
	out.path = filepath.Join(dir, "rehome.db")
	return out, func() error { return os.RemoveAll(dir) }, nil
}

// workspace is the Slack side of a demo.
type workspace struct {
	*sandbox.Workspace
	url                string
	botToken, appToken string
	listener           net.Listener
	server             *http.Server
	ended              chan struct{} // closed when serving has ended; nil before it begins
}

// openWorkspace makes the workspace that will be reached through l.
func openWorkspace(l net.Listener) (*workspace, error) {
	w := &workspace{url: "http://" + reachable(l.Addr()), listener: l, botToken: "xoxb-" + rand.Text(), appToken: "xapp-" + rand.Text()}
	var err error
	w.Workspace, err = sandbox.New(sandbox.Config{
		Name: "Contoso", Strict: true, BaseURL: w.url,
		Users: []sandbox.User{
			{ID: rivera, Name: "rivera", RealName: "Robin Rivera", Title: "Service owner, Contoso Ledger", Email: "rivera@contoso.example"},
			{ID: okafor, Name: "okafor", RealName: "Ada Okafor", Title: "Service owner, Fabrikam Telemetry", Email: "okafor@fabrikam.example"},
			{ID: lindqv, Name: "lindqvist", RealName: "Sam Lindqvist", Title: "Security engineer", Email: "lindqvist@contoso.example"},
		},
		Channels: []sandbox.Channel{
			{ID: triage, Name: "app-security-triage", Topic: "Violations of Entra app credentials", BotMember: true},
			{ID: general, Name: "general", Topic: "Everybody", BotMember: true},
			{ID: random, Name: "random", Topic: "rehome is not in here"},
		},
		App: sandbox.App{
			Name: "rehome", Description: "Puts certificates back where they belong", SocketMode: true, BotToken: w.botToken, AppToken: w.appToken,
			Scopes: slices.Sorted(maps.Keys(slackapp.Scopes)), Events: slackapp.Events,
			Commands: []sandbox.Command{{Name: slackapp.CommandName, UsageHint: "[1P|3P] [tenant] [cloud] [title], or help",
				Description: "Work a violation", ShouldEscape: true}},
			Shortcuts: []sandbox.Shortcut{
				{CallbackID: slackapp.MessageShortcut, Name: "Triage with Rehome", Type: "message"},
				{CallbackID: slackapp.GlobalShortcut, Name: "Start a rehoming", Type: "global"},
			},
		},
	})
	return w, err
}

// reachable turns an address that listens everywhere into one that can be opened.
func reachable(addr net.Addr) string {
	a, ok := addr.(*net.TCPAddr)
	if !ok || !a.IP.IsUnspecified() {
		return addr.String()
	}
	return net.JoinHostPort("127.0.0.1", fmt.Sprint(a.Port))
}

// serve serves the page and what Slack would, and beside them where the bot
// takes alerts.
func (w *workspace) serve(a *assembly) {
	mux := http.NewServeMux()
	mux.Handle("/", w.Workspace)
	a.handleCommon(mux)
	w.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelWarn)}
	w.ended = make(chan struct{})
	go func() {
		defer close(w.ended)
		_ = w.server.Serve(w.listener) // ends with close, and then says so
	}()
}

// close ends the workspace's own connections first: the page's stream and the
// bot's socket are never idle.
func (w *workspace) close() {
	if w.Workspace != nil {
		w.Close()
	}
	if w.ended == nil {
		_ = w.listener.Close()
		return
	}
	_ = w.server.Close()
	<-w.ended
}

// report prints what became of the alerts and, once they are in, what to try. A
// feed that goes on does not hold that up. It returns when ctx has ended and
// the alerts are no longer read; a read from a terminal, which nothing can
// interrupt, is given up after a second and ends with the process.
func (p *program) report(ctx context.Context, alerts <-chan string, then whatToTry) {
	goesOn := time.NewTimer(2 * time.Second)
	defer goesOn.Stop()
	for tried := false; ; {
		select {
		case line, more := <-alerts:
			if more {
				fmt.Fprintln(p.out, line)
				continue
			}
			alerts = nil
		case <-goesOn.C:
		case <-ctx.Done():
			p.drain(alerts)
			return
		}
		if !tried {
			tried = true
			p.sayWhatToTry(then)
		}
	}
}

// drain waits until the alerts are no longer read.
func (p *program) drain(alerts <-chan string) {
	late := time.NewTimer(time.Second)
	defer late.Stop()
	for alerts != nil {
		select {
		case _, more := <-alerts:
			if !more {
				return
			}
		case <-late.C:
			return
		}
	}
}

// whatToTry is what the words about it need.
type whatToTry struct {
	path string // of the store
	to   sender
}

func (p *program) sayWhatToTry(w whatToTry) {
	fmt.Fprintf(p.out, `
Four things to try there:
  1. In #app-security-triage, open a thread and answer the question. Its owners have
     the same in a direct message; who they are is looked up in a directory.
  2. In any channel, type:  /rehome 1P SG owner AME, Fairfax, cloud-mismatch
  3. Press Change on an answer, or be somebody else (the seats at the upper left).
  4. Post an alert of an app of Robin's, and see it arrive in the channel and as a
     direct message:

curl -sS %s -H 'Authorization: Bearer %s' -H 'Content-Type: application/json' -d '%s'

From another terminal:  REHOME_STORE=bolt:%s rehome list
Ctrl-C ends the demo.
`, w.to.url, w.to.token, tryAlert, w.path)
}

// tryAlert is an alert of an app that the demo's directory knows the owner of.
// The same id again is the same finding.
const tryAlert = `{"id": "TRY-1", "source": {"system": "other"}, "title": "AAD Entra Apps in Prod Tenants using certificates in Non-Prod Tenant", ` +
	`"app": {"appId": "` + paymentsApp + `"}}`
