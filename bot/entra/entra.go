// Package entra looks apps and their owners up in Microsoft Graph. A [Directory]
// is a [bot.Directory] of one or more Entra tenants. This is the only package that
// imports msgraph-sdk-go and azidentity, and it only reads.
//
//	App(app id) ─► which tenants? ─► remembered? ─► one flight per app and tenant
//	                                                  │ application, service principal
//	                                                  │ owners of both, federated credentials
//	                                                  │ members of owning groups
//	                                                  ▼
//	                                               AppEntry, with a Gap for what could not be read
//
// # Permissions
//
// All are application permissions, for which an administrator of each tenant
// consents once:
//
//	GET /applications(appId=…), /applications/ID                 Application.Read.All
//	GET /applications/ID/owners                                  Application.Read.All
//	GET /applications/ID/federatedIdentityCredentials            Application.Read.All
//	GET /servicePrincipals(appId=…), /servicePrincipals/ID       Application.Read.All
//	GET /servicePrincipals/ID/owners                             Application.Read.All
//	name, mail and state of an owner who is a person             User.Read.All
//	GET /groups/ID/transitiveMembers, and a group's name         GroupMember.Read.All
//
// Application.Read.All is needed. Without the others owners are found without their
// mail addresses, and Hidden names the missing permission. A missing permission is
// never taken for a missing owner.
//
// # What is between the SDK and Graph
//
// The SDK's own pipeline loses statuses, returns nothing for an empty answer,
// follows links to other hosts, panics on some bodies and waits for as long as a
// throttled service says. Here every request goes
//
//	ask        a slot, the look-up's deadline, our own retry, recover      ask.go
//	adapter    the SDK's typed builders; three middlewares in fixed order  tenant.go
//	guard      one host, errors in one shape, no empty or foreign answers  guard.go
//	repair     one odd value does not cost the whole answer                repair.go
//
// and an error is a refusal, which quotes Graph's code and nothing else: neither
// tokens nor names, addresses or bodies reach an error or a log.
package entra

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"rehome/bot"
)

// A Config says which directories there are and how patiently they are asked.
type Config struct {
	Directories []DirectoryConfig // asked in this order when a query does not say which

	TTL     time.Duration // how long an entry serves; 0: 15 minutes
	Brief   time.Duration // how long "no such app", "denied" and entries with temporary gaps serve; 0: 1 minute
	Stale   time.Duration // how old an entry may be that is used while the directory does not answer; 0: 24 hours
	Timeout time.Duration // for a look-up in one directory, retries included; 0: 20 seconds
	Attempt time.Duration // for one request; 0: 8 seconds

	Parallel  int // requests at once to one directory; 0: 8
	KeyReads  int // requests a minute and directory that ask for key credentials; 0: 150, Graph's limit per tenant; negative: no limit
	MaxOwners int // owners, and members of a group, that are read; 0: 200

	Log       *slog.Logger      // nil: discard
	Now       func() time.Time  // the clock of ReadAt and the cache; nil: time.Now
	Transport http.RoundTripper // below everything, for Graph and for tokens; nil: one of our own
}

// withDefaults fills in what was left at zero.
func (c Config) withDefaults() Config {
	set := func(d *time.Duration, usual time.Duration) {
		if *d == 0 {
			*d = usual
		}
	}
	set(&c.TTL, 15*time.Minute)
	set(&c.Brief, time.Minute)
	set(&c.Stale, 24*time.Hour)
	set(&c.Timeout, 20*time.Second)
	set(&c.Attempt, 8*time.Second)
	for n, usual := range map[*int]int{&c.Parallel: 8, &c.KeyReads: 150, &c.MaxOwners: 200} {
		if *n == 0 {
			*n = usual
		}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// A Directory is one or more Entra tenants. It is safe for many goroutines.
type Directory struct {
	c       Config
	tenants []*tenant
	cache   cache
	flights singleflight.Group
	own     *http.Transport // the one made by New; nil when the caller gave one

	base    context.Context
	cancel  context.CancelFunc
	mu      sync.Mutex // guards closed, and Add against Wait
	closed  bool
	running sync.WaitGroup
}

var _ bot.Directory = (*Directory)(nil)

// New checks a configuration and makes its credentials ready. It asks nobody: a
// credential that does not work shows at the first look-up. Close the Directory
// when it is no longer needed.
func New(c Config) (*Directory, error) {
	c = c.withDefaults()
	if len(c.Directories) == 0 {
		return nil, errors.New("no directory is configured: set AZURE_TENANT_ID and AZURE_CLIENT_ID, or list them in the settings under “directories”")
	}
	d := &Directory{c: c, cache: cache{kept: map[string]kept{}}}
	transport := c.Transport
	if transport == nil {
		d.own = ownTransport()
		transport = d.own
	}
	seen := map[string]bool{}
	for i, dc := range c.Directories {
		t, err := newTenant(c, dc, transport)
		if err != nil {
			return nil, fmt.Errorf("directory %d (%s): %w", i+1, dc.label(), err)
		}
		if seen[t.name] || seen[t.tenantID] {
			return nil, fmt.Errorf("directory %d (%s): its name or its tenant is there twice; keep one", i+1, dc.label())
		}
		seen[t.name], seen[t.tenantID] = true, true
		for _, w := range t.warnings {
			c.Log.Warn("directory", "name", t.name, "warning", w)
		}
		d.tenants = append(d.tenants, t)
	}
	d.base, d.cancel = context.WithCancel(context.Background())
	return d, nil
}

// Warnings returns what an operator should know about the configuration, in one
// sentence each. They are in the log as well.
func (d *Directory) Warnings() []string {
	var all []string
	for _, t := range d.tenants {
		for _, w := range t.warnings {
			all = append(all, t.name+": "+w)
		}
	}
	return all
}

// Names returns the names of the configured directories, in order.
func (d *Directory) Names() []string {
	names := make([]string, len(d.tenants))
	for i, t := range d.tenants {
		names[i] = t.name
	}
	return names
}

// Close ends the look-ups under way and waits for them.
func (d *Directory) Close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.cancel()
	d.running.Wait()
	if d.own != nil {
		d.own.CloseIdleConnections()
	}
}

// App implements [bot.Directory]. When several directories are asked, the answer is
// from the one that has the application registration, or else from the first that
// has its service principal.
func (d *Directory) App(ctx context.Context, q bot.AppQuery, fresh bool) (bot.AppEntry, error) {
	q.AppID, q.ServicePrincipalID = plainGUID(q.AppID), plainGUID(q.ServicePrincipalID)
	if q.AppID == "" && q.ServicePrincipalID == "" {
		return bot.AppEntry{}, &bot.LookupError{Kind: bot.NoSuchApp, Err: errors.New("an app is looked up by its app id or its service principal's object id, which are GUIDs")}
	}
	asked := d.choose(q)
	if len(asked) == 0 {
		return bot.AppEntry{}, &bot.LookupError{Kind: bot.NoDirectory}
	}
	var best *bot.AppEntry
	var failures []*bot.LookupError
	for _, t := range asked {
		e, failed := d.one(ctx, t, q, fresh)
		switch {
		case failed != nil:
			failures = append(failures, failed)
		case e.ObjectID != "":
			return e, nil
		case best == nil:
			best = &e
		}
	}
	if best != nil {
		best.Gaps = append(best.Gaps, elsewhere(failures)...)
		return *best, nil
	}
	return bot.AppEntry{}, worst(failures, len(asked) > 1)
}

// choose returns the directories to ask. When the tenant is known it decides, since
// a tenant belongs to one cloud.
func (d *Directory) choose(q bot.AppQuery) []*tenant {
	var chosen []*tenant
	for _, t := range d.tenants {
		switch {
		case q.TenantID != "":
			if t.tenantID == plainGUID(q.TenantID) {
				chosen = append(chosen, t)
			}
		case q.Cloud != "":
			if t.cloud.Product() == q.Cloud {
				chosen = append(chosen, t)
			}
		default:
			chosen = append(chosen, t)
		}
	}
	return chosen
}

// elsewhere returns the gaps of an entry for the directories that failed and might
// have had the application.
func elsewhere(failures []*bot.LookupError) []bot.Gap {
	var gaps []bot.Gap
	for _, f := range failures {
		if f.Kind != bot.NoSuchApp {
			gaps = append(gaps, bot.Gap{What: "the application in " + f.Directory, Permission: f.Permission, Why: why(f)})
		}
	}
	return gaps
}

func why(f *bot.LookupError) string {
	var r *refusal
	if errors.As(f.Err, &r) {
		return r.why()
	}
	return f.Kind.String()
}

// worst returns the failure to report. A directory that did not say whether it has
// the app outweighs any number that do not have it.
func worst(failures []*bot.LookupError, several bool) *bot.LookupError {
	weight := map[bot.LookupKind]int{bot.NoSuchApp: 0, bot.Denied: 1, bot.Busy: 2}
	w := failures[0]
	for _, f := range failures[1:] {
		if weight[f.Kind] > weight[w.Kind] {
			w = f
		}
	}
	if several && w.Kind == bot.NoSuchApp {
		return &bot.LookupError{Kind: bot.NoSuchApp}
	}
	return w
}

// one answers for one directory, from the cache, or by a look-up that everybody who
// asks for the same app shares. The look-up goes on when its first caller's context
// ends; each caller waits for as long as its own lasts.
func (d *Directory) one(ctx context.Context, t *tenant, q bot.AppQuery, fresh bool) (bot.AppEntry, *bot.LookupError) {
	key := t.name + "/" + q.AppID
	if q.AppID == "" {
		key = t.name + "/principal/" + q.ServicePrincipalID
	}
	if k, ok := d.cache.get(key); ok && !fresh && d.c.Now().Before(k.until) {
		return k.answer()
	}
	//nolint:contextcheck // a flight is shared and outlives whoever began it; Close ends it
	landed := d.flights.DoChan(key, func() (any, error) { return d.fly(t, q, key), nil })
	select {
	case r := <-landed:
		k := r.Val.(kept)
		if k.failed != nil && k.failed.Kind == bot.Busy && !fresh {
			if old, ok := d.cache.get(key); ok && old.failed == nil && d.c.Now().Sub(old.entry.ReadAt) < d.c.Stale {
				return old.answer()
			}
		}
		return k.answer()
	case <-ctx.Done():
		return bot.AppEntry{}, &bot.LookupError{Kind: bot.Busy, Directory: t.name, Err: &refusal{kind: bot.Busy, code: "timeout", cause: ctx.Err()}}
	}
}

// fly asks a directory, and remembers what is worth remembering.
func (d *Directory) fly(t *tenant, q bot.AppQuery, key string) kept {
	if !d.begin() {
		return kept{failed: &bot.LookupError{Kind: bot.Busy, Directory: t.name, Err: &refusal{kind: bot.Busy, code: "closed"}}}
	}
	defer d.running.Done()
	ctx, cancel := context.WithTimeout(d.base, d.c.Timeout)
	defer cancel()
	e, r := t.lookUp(ctx, q)
	now := d.c.Now()
	if r != nil {
		k := kept{failed: r.lookup(t.name), until: now.Add(d.c.Brief)}
		d.c.Log.Warn("directory look-up failed", "directory", t.name, "app", q.AppID, "principal", q.ServicePrincipalID, "why", r.Error())
		if k.failed.Kind != bot.Busy {
			d.cache.put(key, k, now, d.c.Stale)
		}
		return k
	}
	e.Directory, e.ReadAt = t.name, now
	k := kept{entry: e, until: now.Add(d.c.TTL)}
	for _, g := range e.Gaps {
		d.c.Log.Info("directory look-up has a gap", "directory", t.name, "app", e.AppID, "what", g.What, "permission", g.Permission, "why", g.Why)
		if g.Permission == "" {
			k.until = now.Add(d.c.Brief)
		}
	}
	d.cache.put(key, k, now, d.c.Stale)
	return k
}

// begin counts a flight in, unless the Directory is closed.
func (d *Directory) begin() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.running.Add(1)
	return true
}

// plainGUID returns a GUID in lower case without braces, or "" for anything else.
func plainGUID(s string) string {
	s = strings.ToLower(strings.Trim(strings.TrimSpace(s), "{}"))
	if !guidForm.MatchString(s) {
		return ""
	}
	return s
}
