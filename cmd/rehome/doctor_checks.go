package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"rehome/bot/entra"
	"rehome/bot/slackapp"
	"rehome/store"
	"rehome/store/bolt"
)

// Areas of doctor, in the order they are looked at.
const (
	areaSettings  = "settings"
	areaPolicy    = "policy"
	areaSlack     = "slack"
	areaChannels  = "channels"
	areaClock     = "clock"
	areaIntake    = "intake"
	areaDirectory = "directory"
	areaStore     = "store"
	areaRunning   = "running"
	areaListen    = "listen"
)

func (c *checkup) checkSettings(context.Context) {
	file := cmp.Or(c.config, c.env("REHOME_CONFIG"))
	s, err := c.program.settings()
	switch {
	case err != nil:
		c.refuse(areaSettings, err, "correct it; deploy/rehome.example.yaml shows every setting")
		// The rest is looked at as the environment alone has it.
		s = settings{Channel: c.env("REHOME_CHANNEL"), Policy: c.env("REHOME_POLICY")}
		if s.check() != nil {
			s = settings{}
		}
		s.Listen, s.Store = defaultListen, cmp.Or(c.env("REHOME_STORE"), defaultStore)
	case file == "":
		c.ok(areaSettings, "no file is named, and the environment can be used")
	default:
		c.ok(areaSettings, "%s and the environment can be used", file)
	}
	c.settings = s
}

func (c *checkup) checkPolicy(context.Context) {
	pol, err := c.settings.policy()
	if err != nil {
		c.refuse(areaPolicy, err, "see all with: rehome policy check")
		return
	}
	v := pol.Version(c.now())
	of := "the built-in one"
	if c.settings.Policy != "" {
		of = "with the files of " + c.settings.Policy
	}
	if v.Stale != "" {
		what, fix, _ := strings.Cut(v.Stale, ". ")
		c.warn(areaPolicy, cmp.Or(fix, "look whether the tables have changed"), "%s", what)
		return
	}
	c.ok(areaPolicy, "version %s, %s", v.Version, of)
}

// What Slack's tokens begin with.
var tokenKinds = map[string]string{
	"xoxb": "a bot token", "xapp": "an app-level token", "xoxp": "a user token", "xoxe": "a token that rotates", "xoxc": "a browser's token", "xoxd": "a browser's token", "xoxs": "an old workspace token",
}

func kindOf(token string) string {
	kind, _, _ := strings.Cut(token, "-")
	kind, _, _ = strings.Cut(kind, ".")
	return cmp.Or(tokenKinds[kind], "no token of Slack's")
}

// A signing secret as Slack makes them.
var signingForm = regexp.MustCompile(`^[0-9a-f]{32}$`)

// token reads one of Slack's secrets, and says what it is.
func (c *checkup) token(name, prefix, where string, required bool) (secret, bool) {
	s, err := c.secret(name)
	switch {
	case err != nil:
		c.refuse(areaSlack, err, "set "+name)
	case !s.isSet() && required:
		c.fail(areaSlack, "set it to "+where, "%s is not set", name)
	case !s.isSet():
		return s, true
	case prefix != "" && !strings.HasPrefix(s.reveal(), prefix):
		c.fail(areaSlack, "set it to "+where, "%s holds %s", name, kindOf(s.reveal()))
	default:
		return s, true
	}
	return secret{}, false
}

func (c *checkup) checkSlack(ctx context.Context) {
	bot, haveBot := c.token("SLACK_BOT_TOKEN", "xoxb-", "the Bot User OAuth Token (xoxb-…), from OAuth & Permissions in the app's settings", true)
	app, haveApp := c.token("SLACK_APP_TOKEN", "xapp-", "an app-level token with connections:write (xapp-…), from Basic Information in the app's settings", false)
	signing, haveSigning := c.token("SLACK_SIGNING_SECRET", "", "the Signing Secret from Basic Information in the app's settings", false)
	if haveApp && haveSigning && !app.isSet() && !signing.isSet() {
		c.fail(areaSlack, "set SLACK_APP_TOKEN (xapp-…) for Socket Mode, or SLACK_SIGNING_SECRET for HTTP, or both", "there is no way in from Slack")
	}
	if signing.isSet() {
		if !signingForm.MatchString(signing.reveal()) {
			c.warn(areaSlack, "copy it again from Basic Information in the app's settings; it is not the verification token", "SLACK_SIGNING_SECRET is not 32 hexadecimal digits")
		} else {
			c.ok(areaSlack, "Slack may come over signed HTTP, to /slack/events, /slack/commands and /slack/interactions at %s; whether it can reach that is not seen from here", c.settings.Listen)
		}
	}
	if !haveBot {
		return
	}
	chat, err := slackapp.NewChat(slackapp.Options{BotToken: bot.reveal(), AppToken: app.reveal(), APIURL: c.env("SLACK_API_URL"), Timeout: checkWithin})
	if err != nil {
		c.refuse(areaSlack, err, "correct the variable")
		return
	}
	defer chat.Close()
	s, ok := c.checkToken(ctx, chat)
	if app.isSet() {
		c.checkSocket(ctx, chat)
	}
	if ok {
		c.checkClock(s.Ahead)
		c.checkChannels(ctx, chat)
	}
}

// checkToken asks Slack whose token it is and what it may do.
func (c *checkup) checkToken(ctx context.Context, chat *slackapp.Chat) (s slackapp.Standing, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	s, err := chat.Stand(ctx)
	if errors.Is(err, slackapp.ErrTokenRefused) {
		code, _ := slackapp.CodeOf(err)
		c.fail(areaSlack, slackapp.TokenFix(code), "Slack refuses the bot token: %s", code)
		return s, false
	}
	if err != nil {
		code, _ := slackapp.CodeOf(err)
		c.fail(areaSlack, "check name resolution, proxy and firewall for https to "+cmp.Or(c.env("SLACK_API_URL"), "slack.com")+", and SLACK_API_URL", "Slack cannot be reached: %s", code)
		return s, false
	}
	c.ok(areaSlack, "Slack takes the bot token: %s in %s (%s)", s.UserID, cmp.Or(s.Team, "the workspace"), s.TeamID)
	switch missing := s.Missing(); {
	case s.Scopes == nil:
		c.warn(areaSlack, "compare them with deploy/slack-manifest.socket.yaml", "Slack does not say which scopes the bot token has")
	case len(missing) == 0:
		c.ok(areaSlack, "the bot token has all %d scopes it needs", len(slackapp.Scopes))
	default:
		for _, scope := range missing {
			c.fail(areaSlack, slackapp.TokenFix("missing_scope"), "the bot token lacks %s, %s", scope, slackapp.Scopes[scope])
		}
	}
	return s, true
}

// checkClock compares our clock with Slack's. Slack's signatures are good for
// five minutes.
func (c *checkup) checkClock(ahead time.Duration) {
	const fix = "let this machine's clock be set from the network (chrony, systemd-timesyncd)"
	words := fmt.Sprintf("%s ahead of Slack's", ahead)
	if ahead < 0 {
		words = fmt.Sprintf("%s behind Slack's", -ahead)
	}
	switch off := ahead.Abs(); {
	case off > 4*time.Minute:
		c.fail(areaClock, fix, "this machine's clock is %s: signed requests are refused", words)
	case off > 30*time.Second:
		c.warn(areaClock, fix, "this machine's clock is %s", words)
	default:
		c.ok(areaClock, "this machine's clock agrees with Slack's")
	}
}

func (c *checkup) checkSocket(ctx context.Context, chat *slackapp.Chat) {
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	err := chat.MayOpenSocket(ctx)
	if err == nil {
		c.ok(areaSlack, "Socket Mode can be opened with SLACK_APP_TOKEN")
		return
	}
	var s slackapp.SocketState
	s.Code, s.Needed = slackapp.CodeOf(err)
	c.fail(areaSlack, slackapp.SocketFix(s), "Socket Mode cannot be opened: %s", s.Code)
}

// checkChannels looks at each channel the settings name: whether it is there, the
// bot is in it, and what was said in it can be read.
func (c *checkup) checkChannels(ctx context.Context, chat *slackapp.Chat) {
	ctx, cancel := context.WithTimeout(ctx, 3*checkWithin)
	defer cancel()
	s := c.settings
	named := (&parts{triage: s.Channel, security: s.SecurityChannel, router: router{rules: s.Routes}, listened: s.AlertChannels}).channels()
	if len(named) == 0 {
		c.warn(areaChannels, "set REHOME_CHANNEL to the id of the triage channel", "no channel is named for alerts to be worked in")
	}
	for _, n := range named {
		channel, err := chat.Channel(ctx, n.id)
		if code, fix := slackapp.ChannelFix(channel, err); code != "" {
			c.fail(areaChannels, fix, "the %s channel %s: %s", n.as, n.id, code)
			continue
		}
		c.ok(areaChannels, "the bot is in the %s channel #%s (%s)", n.as, channel.Name, n.id)
		if err := chat.MayRead(ctx, n.id); err != nil {
			code, needed := slackapp.CodeOf(err)
			c.warn(areaChannels, slackapp.TokenFix("missing_scope"), "what was said in #%s cannot be read (%s): a message whose fate is unknown would be sent again, and may be there twice",
				channel.Name, strings.TrimSpace(code+" "+needed))
			continue
		}
		c.ok(areaChannels, "what was said in #%s can be read, so that nothing is sent twice", channel.Name)
	}
}

// leastToken is how long a token for sending alerts should be at least.
const leastToken = 20

func (c *checkup) checkIntake(context.Context) {
	door, err := c.door(c.settings)
	if err != nil {
		c.refuse(areaIntake, err, "set REHOME_INTAKE_TOKEN")
		return
	}
	if !maySend(door) {
		c.warn(areaIntake, "set REHOME_INTAKE_TOKEN, or write intake.entra in rehome.yaml", "nobody may send alerts to /v1/violations")
		return
	}
	for _, t := range door.Tokens {
		if len(t) < leastToken {
			c.warn(areaIntake, "make one with: openssl rand -hex 32", "a token for sending alerts has %s, and can be guessed", count(len(t), "character"))
		}
	}
	if len(door.Tokens) > 0 {
		c.ok(areaIntake, "alerts are taken from whoever has %s", map[bool]string{true: "the token", false: fmt.Sprintf("one of %d tokens", len(door.Tokens))}[len(door.Tokens) == 1])
	}
	if door.Entra != nil {
		c.ok(areaIntake, "alerts are taken from callers that Entra knows")
	}
	if _, err := c.settings.router(); err != nil {
		c.refuse(areaIntake, err, "set REHOME_CHANNEL")
	}
}

func (c *checkup) checkDirectories(ctx context.Context) {
	configured, err := c.directories(c.settings)
	if err != nil {
		c.refuse(areaDirectory, err, "correct it in the environment (AZURE_…) or under directories: in rehome.yaml")
		return
	}
	if len(configured) == 0 {
		c.warn(areaDirectory, "set AZURE_TENANT_ID, or write directories: in rehome.yaml", "no directory is configured: owners come from the alert alone")
		return
	}
	d, err := entra.New(entra.Config{Directories: configured, Timeout: 2 * checkWithin})
	if err != nil {
		c.refuse(areaDirectory, err, "correct it in the environment (AZURE_…) or under directories: in rehome.yaml")
		return
	}
	defer d.Close()
	for _, w := range d.Warnings() {
		c.warn(areaDirectory, "see directories: in deploy/rehome.example.yaml", "%s", w)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*checkWithin)
	defer cancel()
	for _, found := range d.Check(ctx) {
		for _, p := range found.Missing {
			c.fail(areaDirectory, "grant it to the bot's application as an application permission, and let an administrator of that tenant consent", "%s does not grant %s", found.Directory, p)
		}
		switch {
		case found.Err != nil:
			c.refuse(areaDirectory, fmt.Errorf("%s cannot be asked: %w", found.Directory, found.Err), "check the directory's credential, tenant and cloud")
		case len(found.Missing) == 0:
			c.ok(areaDirectory, "%s lets the bot look up apps, owners and groups", found.Directory)
		}
	}
}

func (c *checkup) checkStore(ctx context.Context) {
	path, err := storePath(c.settings.Store)
	if err != nil {
		c.refuse(areaStore, err, "set REHOME_STORE")
		return
	}
	if r, running := dialBeside(path); running { //nolint:contextcheck // it bounds itself
		defer func() { _ = r.Close() }()
		c.ok(areaStore, "a rehome is running with %s", path)
		c.checkRunning(ctx, r)
		c.checkUndelivered(ctx, r)
		return
	}
	found, err := bolt.Inspect(path, c.settings.storeOptions())
	var system *fs.PathError
	switch {
	case errors.Is(err, bolt.ErrLocked):
		c.warn(areaStore, "if it is not rehome, stop it; rehome answers beside its store, at "+socketBeside(path), "%s is in use by a process that does not answer", path)
		return
	case errors.Is(err, fs.ErrNotExist):
		c.checkFolder(path)
	case errors.As(err, &system):
		c.refuse(areaStore, err, "name a file on a local disk that you may read and write, with REHOME_STORE as bolt:PATH")
	case err != nil:
		c.refuse(areaStore, err, "restore it from a backup")
	case !writable(filepath.Dir(path)):
		c.fail(areaStore, "let the user that runs rehome write there, or name another file with REHOME_STORE as bolt:PATH", "the folder of %s cannot be written", path)
	case found.Room != nil:
		what, fix, _ := strings.Cut(oneLine(found.Room.Error()), "; ")
		c.fail(areaStore, fix, "no new alerts would be taken in: %s", what)
	case found.Schema < found.Newest:
		c.ok(areaStore, "%s is whole as far as a look tells, %s; its layout %d is brought up to %d at the next start", path, megabytes(found.Size), found.Schema, found.Newest)
	default:
		c.ok(areaStore, "%s is whole as far as a look tells, %s", path, megabytes(found.Size))
	}
	c.checkListen(ctx)
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// checkRunning asks a running bot how it is.
func (c *checkup) checkRunning(ctx context.Context, r beside) {
	how, err := r.ready(ctx)
	switch {
	case errors.Is(err, store.ErrNotFound):
		c.warn(areaRunning, "restart it with this version", "the rehome that runs is of an older version, and does not say how it is")
		return
	case err != nil:
		c.warn(areaRunning, "see its log", "the rehome that runs does not say how it is: %s", oneLine(err.Error()))
		return
	case how.Status == statusReady:
		c.ok(areaRunning, "the rehome that runs says that it is ready")
	case how.Status == statusEnding:
		c.warn(areaRunning, "wait a moment, then start it again", "the rehome that runs is about to stop")
	}
	for _, part := range how.Components {
		if part.ok() {
			continue
		}
		tell := c.warn
		if part.Needed {
			tell = c.fail
		}
		tell(areaRunning, part.Fix, "the rehome that runs says of %s: %s (%s)", part.Name, part.What, part.State)
	}
}

// checkUndelivered asks a running bot what it could not say.
func (c *checkup) checkUndelivered(ctx context.Context, r remembered) {
	all, err := r.outbox(ctx, true)
	if err != nil {
		c.warn(areaStore, "see its log", "it does not say what waits: %s", oneLine(err.Error()))
		return
	}
	abandoned := 0
	for _, w := range all {
		if w.Abandoned {
			abandoned++
		}
	}
	if abandoned > 0 {
		c.warn(areaStore, "see which, and why: rehome outbox --failed", "%s could not be delivered", count(abandoned, "message"))
	}
}

// checkFolder looks whether a store could be made.
func (c *checkup) checkFolder(path string) {
	dir := filepath.Dir(path)
	for {
		info, err := os.Stat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist) && filepath.Dir(dir) != dir:
			dir = filepath.Dir(dir)
			continue
		case err != nil:
			c.fail(areaStore, "name a file on a local disk that you may write, with REHOME_STORE as bolt:PATH", "the store cannot be made: %s", oneLine(err.Error()))
		case !info.IsDir():
			c.fail(areaStore, "name a file on a local disk that you may write, with REHOME_STORE as bolt:PATH", "the store cannot be made: %s is not a folder", dir)
		case !writable(dir):
			c.fail(areaStore, "let the user that runs rehome write there, or name another file with REHOME_STORE as bolt:PATH", "the store cannot be made: %s cannot be written", dir)
		default:
			c.ok(areaStore, "there is no store at %s yet; serve makes it", path)
		}
		return
	}
}

// checkListen looks whether serve could listen.
func (c *checkup) checkListen(ctx context.Context) {
	l, err := listen(ctx, c.settings.Listen)
	if err != nil {
		c.refuse(areaListen, err, "choose another address with REHOME_LISTEN")
		return
	}
	_ = l.Close() // it was only tried
	c.ok(areaListen, "%s is free to listen at", c.settings.Listen)
}
