package sandbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Workspace is one Slack team with one app installed. It is an [http.Handler] for everything that
// Slack would serve. All methods are safe for concurrent use.
type Workspace struct {
	cfg     Config
	handler http.Handler
	client  *http.Client // carries signed requests to the app

	ctx  context.Context // ends with Close; parent of everything that waits
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu        sync.Mutex // guards all below; never held while anything is read from or written to a wire
	closed    bool
	app       App
	base      string // scheme://host the app last called us at; where response_urls point
	changed   chan struct{}
	lastTS    int64 // microseconds; message timestamps are strictly increasing
	serials   map[string]int
	people    map[string]User
	channels  map[string]*channel
	order     []string // channel ids in the order of their creation
	stacks    map[string][]*View
	homes     map[string]*View
	triggers  map[string]*trigger
	urls      map[string]*responseURL
	sockets   []*socket
	tickets   map[string]bool
	pending   map[string]*envelope
	turn      int // which socket is next
	stream    []streamEvent
	seq       int
	calls     []Call
	counts    map[string]int
	toasts    map[string][]string
	limits    limiter
	delivered []Delivery
}

// Config describes a workspace. The zero value of a field is its default.
type Config struct {
	Name   string // shown to people; default "Contoso"
	Domain string // the part before .slack.com; default from Name
	TeamID string // default T0000000001

	Users    []User
	Channels []Channel
	App      App

	// Now is the workspace's clock: message timestamps, and the expiry of triggers, response_urls
	// and rate windows. Default time.Now, which inside a synctest bubble is the bubble's.
	Now func() time.Time
	// After makes the timers for deadlines, pings and retries. Default time.After.
	After func(time.Duration) <-chan time.Time

	// Strict takes the tighter number where Slack's own sources disagree: an option's value has
	// 75 characters instead of 150. Use it for one's own app, leave it off for foreign ones.
	Strict bool
	// RateLimits answers 429 with Retry-After beyond Slack's published tiers.
	RateLimits bool
	// RefreshEvery ends each socket after this long, as Slack does every few hours: `disconnect`
	// with reason warning, ten seconds later refresh_requested, and the close. Zero means never.
	RefreshEvery time.Duration
	// BaseURL is where the app reaches this workspace, as scheme://host without a slash. Needed only
	// if a response_url must be made before the app's first call; see [Workspace.SetBaseURL].
	BaseURL string
	// Transport carries signed requests to the app. Default: a transport of its own, without proxy.
	Transport http.RoundTripper
	// Fault is asked before each call what should go wrong with it. n counts the calls of one method
	// from 1. Besides API methods it hears of "response_url" and "socket.connect". It must not call
	// methods of the Workspace.
	Fault func(method string, n int) Fault
}

// User is a person of the workspace.
type User struct {
	ID       string // U…
	Name     string // the handle, as in @name
	RealName string
	Email    string
	TZ       string // IANA name; default Etc/UTC
	Title    string
	Guest    bool // a single-workspace guest: sees only channels they are a member of

	bot bool
}

// Channel is a public or private channel as it is when the workspace starts.
type Channel struct {
	ID        string // C…
	Name      string // without #
	Topic     string
	Private   bool
	Archived  bool
	Members   []string // user ids; empty in a public channel means everybody but guests
	BotMember bool     // the app's bot is in it
}

// App is the app installed in the workspace, with everything its manifest and its installation say.
type App struct {
	ID            string // A…; default A0000000001
	Name          string // default "app"
	Description   string
	BotUserID     string // default U0000000BOT
	BotID         string // default B0000000001
	BotToken      string // xoxb-…
	AppToken      string // xapp-…; for Socket Mode
	SigningSecret string // for HTTP delivery
	Commands      []Command
	Shortcuts     []Shortcut
	Scopes        []string // granted bot scopes; a method without its scope is answered missing_scope
	Events        []string // subscribed bot events: "app_mention", "message.channels", "message.im", "app_home_opened" …
	HomeDisabled  bool     // no Home tab: views.publish is answered not_enabled
	BotTokenError string   // what the bot's token is refused with, such as token_revoked or account_inactive; "" when it is good
	AppTokenError string   // the same of the app's token

	// SocketMode chooses the door. If false, deliveries are signed HTTP requests to these URLs.
	SocketMode      bool
	EventsURL       string
	CommandsURL     string
	InteractionsURL string
}

// Command is a slash command of the app.
type Command struct {
	Name         string // with its slash
	UsageHint    string
	Description  string
	ShouldEscape bool // @name and #channel arrive as <@U…|name> and <#C…|name>
}

// Shortcut is a message shortcut (Type "message") or a global one (Type "global").
type Shortcut struct {
	CallbackID  string
	Name        string
	Description string
	Type        string
}

type channel struct {
	Channel
	im       bool
	members  map[string]bool
	messages []*Message // ascending by TS, replies among them; a *Message is never changed, only replaced
	private  []*Message // ephemerals
	read     map[string]string
}

// New builds a workspace and starts nothing but what it is asked for. The error names the first
// contradiction in the configuration.
func New(cfg Config) (*Workspace, error) {
	cfg = withDefaults(cfg)
	ctx, stop := context.WithCancel(context.Background())
	w := &Workspace{
		cfg: cfg, app: cfg.App, base: strings.TrimSuffix(cfg.BaseURL, "/"), ctx: ctx, stop: stop,
		changed: make(chan struct{}), serials: map[string]int{},
		people: map[string]User{}, channels: map[string]*channel{}, stacks: map[string][]*View{}, homes: map[string]*View{},
		triggers: map[string]*trigger{}, urls: map[string]*responseURL{}, tickets: map[string]bool{}, pending: map[string]*envelope{},
		counts: map[string]int{}, toasts: map[string][]string{}, limits: newLimiter(),
	}
	w.client = &http.Client{Transport: cfg.Transport, CheckRedirect: twoRedirects}
	if err := w.settle(); err != nil {
		stop()
		return nil, err
	}
	w.handler = w.routes()
	return w, nil
}

func withDefaults(c Config) Config {
	def := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	def(&c.Name, "Contoso")
	def(&c.Domain, strings.ToLower(strings.Join(strings.Fields(c.Name), "-")))
	def(&c.TeamID, "T0000000001")
	def(&c.App.ID, "A0000000001")
	def(&c.App.Name, "app")
	def(&c.App.BotUserID, "U0000000BOT")
	def(&c.App.BotID, "B0000000001")
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.After == nil {
		c.After = time.After
	}
	if c.Transport == nil {
		c.Transport = &http.Transport{}
	}
	return c
}

// settle moves the configured people and channels in.
func (w *Workspace) settle() error {
	for _, u := range w.cfg.Users {
		if u.ID == "" || u.Name == "" {
			return fmt.Errorf("sandbox: user %q needs an ID and a Name", u.ID+u.Name)
		}
		if _, twice := w.people[u.ID]; twice || u.ID == w.app.BotUserID {
			return fmt.Errorf("sandbox: user id %s is used twice", u.ID)
		}
		w.people[u.ID] = u
	}
	handle := strings.ToLower(strings.Join(strings.Fields(w.app.Name), "-"))
	w.people[w.app.BotUserID] = User{ID: w.app.BotUserID, Name: handle, RealName: w.app.Name, Title: w.app.Description, bot: true}
	for _, c := range w.cfg.Channels {
		if c.ID == "" || c.Name == "" {
			return fmt.Errorf("sandbox: channel %q needs an ID and a Name", c.ID+c.Name)
		}
		if w.channels[c.ID] != nil {
			return fmt.Errorf("sandbox: channel id %s is used twice", c.ID)
		}
		members := map[string]bool{}
		for _, id := range c.Members {
			if _, ok := w.people[id]; !ok {
				return fmt.Errorf("sandbox: channel %s has the member %s, who is not among Users", c.Name, id)
			}
			members[id] = true
		}
		if len(c.Members) == 0 && !c.Private {
			for _, u := range w.cfg.Users {
				members[u.ID] = !u.Guest
			}
		}
		members[w.app.BotUserID] = c.BotMember
		maps.DeleteFunc(members, func(_ string, in bool) bool { return !in })
		w.addChannel(&channel{Channel: c, members: members})
	}
	if len(w.app.Commands)+len(w.app.Shortcuts) > 0 && !slices.Contains(w.app.Scopes, "commands") {
		return errors.New("sandbox: App has commands or shortcuts, and not the scope \"commands\"")
	}
	if a := w.app; a.BotToken == "" || a.SocketMode && a.AppToken == "" {
		return errors.New("sandbox: App needs a BotToken, and an AppToken for Socket Mode")
	} else if !a.SocketMode && a.EventsURL+a.CommandsURL+a.InteractionsURL != "" && a.SigningSecret == "" {
		return errors.New("sandbox: App needs a SigningSecret for HTTP delivery")
	}
	return nil
}

// ServeHTTP answers everything Slack would, and the page.
func (w *Workspace) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if !w.enter() {
		http.Error(rw, "the workspace is closed", http.StatusServiceUnavailable)
		return
	}
	defer w.wg.Done()
	w.handler.ServeHTTP(rw, r)
}

func (w *Workspace) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/api/{method}", w.serveAPI)
	mux.HandleFunc("GET /socket/{ticket}", w.serveSocket)
	mux.HandleFunc("POST /response/{token}", w.serveResponseURL)
	mux.HandleFunc("GET /archives/{channel}/{message}", w.servePermalink)
	w.routeClient(mux)
	w.routePage(mux)
	return mux
}

// Close ends every connection, stops every timer and returns when all goroutines are gone.
func (w *Workspace) Close() {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		w.wg.Wait()
		return
	}
	w.closed = true
	w.stop()
	sockets := slices.Clone(w.sockets)
	w.mu.Unlock()
	for _, s := range sockets {
		s.end()
	}
	w.wg.Wait()
	w.client.CloseIdleConnections()
}

// SetBaseURL says where the app reaches this workspace (scheme://host). It is learnt from the app's
// first call by itself; say it when a slash command may come before that.
func (w *Workspace) SetBaseURL(base string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.base = strings.TrimSuffix(base, "/")
}

// SetRequestURLs says where the app listens for signed HTTP deliveries.
func (w *Workspace) SetRequestURLs(events, commands, interactions string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.app.EventsURL, w.app.CommandsURL, w.app.InteractionsURL = events, commands, interactions
}

// Reinstall changes what the app's settings and its installation say: tokens, scopes, Socket Mode.
// Open sockets stay; see [Workspace.Disconnect]. What names people and places cannot be changed.
func (w *Workspace) Reinstall(change func(*App)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.app)
}

// enter counts a goroutine that Close has to wait for; false once the workspace is closed.
func (w *Workspace) enter() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	w.wg.Add(1)
	return true
}

// spawn runs f in a goroutine Close waits for. Callers hold w.mu.
func (w *Workspace) spawn(f func()) {
	if !w.closed {
		w.wg.Go(f)
	}
}

// pause waits for d; false if the workspace closed meanwhile.
func (w *Workspace) pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-w.cfg.After(d):
		return true
	case <-ctx.Done():
		return false
	case <-w.ctx.Done():
		return false
	}
}

// touch wakes everybody who waits for a change. Callers hold w.mu.
func (w *Workspace) touch() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// nextTS is a message timestamp: seconds and microseconds, never twice, never backwards.
func (w *Workspace) nextTS() string {
	w.lastTS = max(w.lastTS+1, w.cfg.Now().UnixMicro())
	return formatTS(w.lastTS)
}

func formatTS(micros int64) string {
	return fmt.Sprintf("%d.%06d", micros/1e6, micros%1e6)
}

// serial makes an id such as V0000000007. Ids are countable, so that transcripts stay the same.
func (w *Workspace) serial(prefix string) string {
	w.serials[prefix]++
	return fmt.Sprintf("%s%0*d", prefix, max(1, 11-len(prefix)), w.serials[prefix])
}

func (w *Workspace) addChannel(c *channel) {
	c.read = map[string]string{}
	w.channels[c.ID] = c
	w.order = append(w.order, c.ID)
}

// directMessage finds or opens the conversation between two people. Callers hold w.mu.
func (w *Workspace) directMessage(a, b string) *channel {
	for _, id := range w.order {
		if c := w.channels[id]; c.im && c.members[a] && c.members[b] && (a != b || len(c.members) == 1) {
			return c
		}
	}
	c := &channel{Channel: Channel{ID: w.serial("D"), Private: true}, im: true, members: map[string]bool{a: true, b: true}}
	w.addChannel(c)
	for _, id := range []string{a, b} {
		w.publishChannel(c, id)
	}
	return c
}

// canSee reports whether a person finds the channel in their sidebar or browser.
func (w *Workspace) canSee(user string, c *channel) bool {
	return c.members[user] || !c.Private && !w.people[user].Guest
}

// kind is the channel_type of message events and the prefix of *:history scopes' owners.
func (c *channel) kind() string {
	switch {
	case c.im:
		return "im"
	case c.Private:
		return "group"
	}
	return "channel"
}

func (c *channel) find(ts string) (int, *Message) {
	i, ok := slices.BinarySearchFunc(c.messages, ts, func(m *Message, ts string) int { return compareTS(m.TS, ts) })
	if !ok {
		return -1, nil
	}
	return i, c.messages[i]
}

// compareTS orders timestamps; they are decimal, and their integer parts may differ in length.
func compareTS(a, b string) int {
	ai, af, _ := strings.Cut(a, ".")
	bi, bf, _ := strings.Cut(b, ".")
	if len(ai) != len(bi) {
		return len(ai) - len(bi)
	}
	return strings.Compare(ai+"."+af, bi+"."+bf)
}

func validTS(ts string) bool {
	whole, frac, dot := strings.Cut(ts, ".")
	_, err := strconv.ParseUint(whole, 10, 63)
	if err != nil || !dot {
		return err == nil
	}
	_, err = strconv.ParseUint(frac, 10, 63)
	return err == nil
}
