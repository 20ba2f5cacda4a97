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

	"rehome/bot/intake"
	"rehome/bot/sandbox"
	"rehome/bot/slackapp"
	"rehome/conversation"
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
	listen, alerts, store string
	verbose               bool
}

func (p *program) demoCommand() *cobra.Command {
	var in demoInput
	c := &cobra.Command{
		Use:   "demo",
		Short: "See the bot at work in your browser; needs no account and no network",
		Long: `demo runs the real bot against a Slack-compatible workspace in the same process,
with sample alerts, and prints the address of a page that looks and works like
Slack. Nothing leaves this machine. Ctrl-C ends it, and everything is gone unless
--store keeps it.`,
		Example: `  rehome demo
  rehome demo --alerts alerts.ndjson       with alerts of your own
  tail -f feed.ndjson | rehome demo --alerts -`,
		Args: args(0, 0, "flags only"),
		RunE: func(c *cobra.Command, _ []string) error { return p.demo(c.Context(), in) },
	}
	c.Flags().StringVar(&in.listen, "listen", "", "`address` of the page (REHOME_LISTEN; default "+defaultListen+")")
	c.Flags().StringVar(&in.alerts, "alerts", "", "`file` with alerts instead of the samples (NDJSON or JSON); - for standard input")
	c.Flags().StringVar(&in.store, "store", "", "keep the `store`, as bolt:PATH, instead of a temporary one")
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
	w, err := openWorkspace(l.Addr()) //nolint:contextcheck // it ends with close, after the bot that talks to it
	if err != nil {
		return errors.Join(err, l.Close())
	}
	defer w.close()
	parts.slack.APIURL, parts.slack.BotToken, parts.slack.AppToken = w.url+"/api/", w.botToken, w.appToken
	go w.serve(l)
	a, err := assemble(parts) //nolint:contextcheck // opening a store is not cut short
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	return a.run(ctx, func(ctx context.Context) error {
		fmt.Fprintf(p.out, "The workspace is at %s/\n\n", w.url)
		p.report(ctx, a.path, a.openAll(ctx, feed))
		fmt.Fprintln(p.out, "\nStopped.")
		return nil
	})
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
// store that forget removes unless it was asked for.
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
	// The workspace in the box has no limit on how fast a channel is written to.
	out.unlimited = true
	if in.store != "" {
		out.path, err = storePath(in.store)
		return out, forget, err
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
	server             *http.Server
	ended              chan struct{}
}

// openWorkspace makes the workspace that will be reached at addr.
func openWorkspace(addr net.Addr) (*workspace, error) {
	w := &workspace{url: "http://" + reachable(addr), botToken: "xoxb-" + rand.Text(), appToken: "xapp-" + rand.Text(), ended: make(chan struct{})}
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
	w.server = &http.Server{Handler: w.Workspace, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelWarn)}
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

func (w *workspace) serve(l net.Listener) {
	defer close(w.ended)
	_ = w.server.Serve(l) // ends with close, and then says so
}

// close ends the workspace's own connections first: the page's stream and the
// bot's socket are never idle.
func (w *workspace) close() {
	w.Close()
	_ = w.server.Close()
	<-w.ended
}

// openAll reads alerts until they end or ctx does, and says what became of each.
// Each becomes a conversation in the triage channel, or a line that says why not.
func (a *assembly) openAll(ctx context.Context, r io.ReadCloser) <-chan string {
	said := make(chan string)
	stop := context.AfterFunc(ctx, func() { _ = r.Close() }) // ends a read that waits for more
	go func() {
		defer close(said)
		defer stop()
		for rec, err := range intake.Records(r) {
			if ctx.Err() != nil {
				return
			}
			select {
			case said <- fmt.Sprintf("  line %d  %s", rec.Line, oneLine(a.openAlert(ctx, rec, err))):
			case <-ctx.Done():
				return
			}
		}
	}()
	return said
}

// report prints what became of the alerts and, once they are in, what to try. A
// feed that goes on does not hold that up. It returns when ctx has ended and
// the alerts are no longer read; a read from a terminal, which nothing can
// interrupt, is given up after a second and ends with the process.
func (p *program) report(ctx context.Context, path string, alerts <-chan string) {
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
			p.sayWhatToTry(path)
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

// openAlert opens a conversation for a record and says what became of it.
func (a *assembly) openAlert(ctx context.Context, rec intake.Record, err error) string {
	if err != nil {
		return "not opened: " + err.Error()
	}
	alert, err := intake.Decode(rec.Raw)
	if err != nil {
		return "not opened: " + err.Error()
	}
	applied, err := a.bot.Open(ctx, alert.Key(), alert.Finding(), conversation.Opened{
		Violation: alert.Violation, Facts: a.policy.Infer(alert.Violation), In: conversation.Place{Channel: triage},
	})
	if err != nil {
		return "not opened: " + err.Error()
	}
	said := applied.Conversation.ID + "  " + cutAt(alert.Violation.Title, 80)
	if !applied.Fresh {
		said += " (was known already)"
	}
	for _, note := range alert.Notes {
		said += " (note: " + note + ")"
	}
	return said
}

func (p *program) sayWhatToTry(path string) {
	fmt.Fprintf(p.out, `
Three things to try there:
  1. In #app-security-triage, open a thread and answer the question.
  2. In any channel, type:  /rehome 1P SG owner AME, Fairfax, cloud-mismatch
  3. Press Change on an answer, or be somebody else (“You are”, in the sidebar).

From another terminal:  REHOME_STORE=bolt:%s rehome list
Ctrl-C ends the demo.
`, path)
}
