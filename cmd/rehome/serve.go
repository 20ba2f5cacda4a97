package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rehome/bot/entra"
	"rehome/bot/slackapp"
)

func (p *program) serveCommand() *cobra.Command {
	var listenAt, storeAt string
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the bot in Slack",
		Long: `serve runs the bot until it gets SIGTERM or Ctrl-C. It reads rehome.yaml where
one is named, and the environment, which wins:

  SLACK_BOT_TOKEN        xoxb-…, required
  SLACK_APP_TOKEN        xapp-…, for Socket Mode
  SLACK_SIGNING_SECRET   for HTTP: /slack/events, /slack/commands, /slack/interactions
  REHOME_STORE           bolt:PATH, a file on a local disk
  REHOME_LISTEN          host:port
  REHOME_CHANNEL         id of the triage channel
  REHOME_POLICY          folder with policy files of your own
  REHOME_TENANTS         JSON file with your tenants' ids and names
  REHOME_INTAKE_TOKEN    bearer tokens for POST /v1/violations; several while one replaces another
  AZURE_TENANT_ID, …     the directory to look owners up in, as azidentity names it
  GRAPH_BASE_URL         instead of the cloud's Microsoft Graph, without a version

One of the Slack doors is needed, and both may be open. Each secret may be in a
file instead, named by SLACK_BOT_TOKEN_FILE and so on. GET /healthz answers while
the process can go on, GET /readyz says of each thing it needs how that is, and is
503 without the store, Slack, a way in, or the triage channel; rehome doctor says
more. The end has an order: new work is sent away, what is under way is finished,
within ten seconds; a second signal ends at once.`,
		Example: `  SLACK_BOT_TOKEN=xoxb-… SLACK_APP_TOKEN=xapp-… rehome serve
  rehome serve --config /etc/rehome/rehome.yaml`,
		Args: args(0, 0, "flags only"),
		RunE: func(c *cobra.Command, _ []string) error { return p.serve(c.Context(), listenAt, storeAt) },
	}
	checkedFlag(c, &listenAt, "listen", "`address` for HTTP (REHOME_LISTEN; default "+defaultListen+")", checkListen)
	checkedFlag(c, &storeAt, "store", "the `store`, as bolt:PATH (REHOME_STORE; default "+defaultStore+")", checkStore)
	return c
}

func (p *program) serve(ctx context.Context, listenAt, storeAt string) (err error) {
	ctx, stop := untilSignal(ctx)
	defer stop()
	if p.env("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	s, err := p.settings()
	if err != nil {
		return err
	}
	s.Listen, s.Store = cmp.Or(listenAt, s.Listen), cmp.Or(storeAt, s.Store)
	parts, err := p.serveParts(s)
	if err != nil {
		return err
	}
	l, err := listen(ctx, s.Listen)
	if err != nil {
		if parts.directory != nil {
			parts.directory.Close()
		}
		return err
	}
	a, err := assemble(parts) //nolint:contextcheck // opening a store is not cut short
	if err != nil {
		return errors.Join(err, l.Close())
	}
	defer func() { err = errors.Join(err, a.close()) }()
	if p.change != nil {
		p.change(a.bot)
	}
	version, _ := built()
	pol := a.policy.Version(p.now())
	a.log.Info("rehome is up", "version", version, "listen", l.Addr().String(), "store", a.path,
		"socket", a.slack.AppToken != "", "http", len(a.signed) > 0, "policy", pol.Version, "digest", pol.Digest,
		"alerts", maySend(a.door), "channel", a.router.other, "routes", len(a.router.rules))
	if a.directory == nil {
		a.log.Warn("no directory is configured, so owners come from the alert alone; set AZURE_TENANT_ID, or write directories: in rehome.yaml")
	} else {
		a.log.Info("owners are looked up", "directories", a.directory.Names())
	}
	if !a.atMostOnce {
		a.log.Info("where history may not be read, a message that may have been sent is sent again; unreadableHistory: at-most-once gives it up")
	}
	if pol.Stale != "" {
		a.log.Warn(pol.Stale)
	}
	err = a.run(ctx, func(ctx context.Context) error { return serveUntil(ctx, a.server(), l) })
	a.log.Info("rehome has stopped")
	return err
}

// collectAt is how much the heap may grow before it is collected, in percent.
// Little lives long here but much is made: at Go's 100, collecting takes a fifth
// of a busy server's time. GOGC in the environment wins.
const collectAt = 400

// serveParts reads what serve needs and says what is missing.
func (p *program) serveParts(s settings) (parts, error) {
	out := parts{log: p.logger(s.Log)}
	var err error
	if out.path, err = storePath(s.Store); err != nil {
		return out, err
	}
	out.room = s.storeOptions()
	if out.keep, err = parseKeep(s.Keep); err != nil {
		return out, err // unreachable: the settings are checked
	}
	if out.policy, err = s.policy(); err != nil {
		return out, err
	}
	secrets := map[string]secret{}
	for _, name := range []string{"SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET"} {
		if secrets[name], err = p.secret(name); err != nil {
			return out, err
		}
	}
	if !secrets["SLACK_BOT_TOKEN"].isSet() {
		return out, errors.New("SLACK_BOT_TOKEN is not set; set it to the app's bot token (xoxb-…), or try the bot without Slack: rehome demo")
	}
	// An xapp- in its place is for slackapp.NewChat to explain.
	if token := secrets["SLACK_BOT_TOKEN"].reveal(); !strings.HasPrefix(token, "xoxb-") && !strings.HasPrefix(token, "xapp-") {
		return out, errors.New("SLACK_BOT_TOKEN does not begin with xoxb-; set it to the Bot User OAuth Token, from OAuth & Permissions in the app's settings")
	}
	if !secrets["SLACK_APP_TOKEN"].isSet() && !secrets["SLACK_SIGNING_SECRET"].isSet() {
		return out, errors.New("there is no way in from Slack; set SLACK_APP_TOKEN (xapp-…) for Socket Mode, or SLACK_SIGNING_SECRET for HTTP, or both")
	}
	out.sockets = s.Sockets
	out.slack = slackapp.Options{
		BotToken: secrets["SLACK_BOT_TOKEN"].reveal(), AppToken: secrets["SLACK_APP_TOKEN"].reveal(),
		APIURL: p.env("SLACK_API_URL"), Timeout: s.Slack.timeout, Log: out.log,
	}
	out.settle, out.unlimited = s.Slack.settle, s.Slack.Unlimited
	if secrets["SLACK_SIGNING_SECRET"].isSet() {
		out.signed = []string{secrets["SLACK_SIGNING_SECRET"].reveal()}
	}
	return out, p.alertParts(s, &out)
}

// alertParts reads what alerts and owners need.
func (p *program) alertParts(s settings, out *parts) (err error) {
	if out.door, err = p.door(s); err != nil {
		return err
	}
	if out.router, err = s.router(); err != nil && maySend(out.door) {
		return err
	}
	out.ownership, out.manners, out.atMostOnce = s.Owners.ownership(), s.Telling.manners(), repeats[s.Unreadable]
	out.triage, out.security, out.listened, out.links = s.Channel, cmp.Or(s.SecurityChannel, s.Channel), s.AlertChannels, s.AlertLinks
	directories, err := p.directories(s)
	if err != nil || len(directories) == 0 {
		return err
	}
	out.directory, err = entra.New(entra.Config{Directories: directories, Log: out.log})
	return err
}

// server is serve's HTTP side. Every wait for the other end is bounded.
func (a *assembly) server() *http.Server {
	mux := http.NewServeMux()
	if len(a.signed) > 0 {
		mux.Handle("POST /slack/", a.doors.Handler())
	}
	a.handleCommon(mux)
	return &http.Server{
		Handler:           a.untilStopping(mux),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second, // of an alert's body: see intake.Door
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelWarn),
	}
}

// retryAfter is when whoever is sent away may come again, in seconds: another
// start takes less.
const retryAfter = "5"

// untilStopping sends new work away once we are told to stop, so that its sender
// comes again instead of losing it. How we are is still said.
func (a *assembly) untilStopping(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.stopping.Load() && r.Method != http.MethodGet {
			w.Header().Set("Retry-After", retryAfter)
			w.Header().Set("Connection", "close")
			http.Error(w, "rehome is stopping; send it again", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// handleCommon adds what serve and demo both answer.
func (a *assembly) handleCommon(mux *http.ServeMux) {
	mux.Handle("/v1/violations", a.alerts)
	mux.HandleFunc("GET /healthz", alive(a.store.Err))
	mux.HandleFunc("GET /readyz", a.ready(probeWithin))
}
