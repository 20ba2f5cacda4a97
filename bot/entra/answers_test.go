package entra

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	core "github.com/microsoftgraph/msgraph-sdk-go-core"
	"github.com/microsoftgraph/msgraph-sdk-go/models/odataerrors"

	"rehome/bot"
	"rehome/bot/sandbox/graph"
)

// only breaks requests whose path has a part.
func only(part string, f graph.Fault) func(graph.Request) graph.Fault {
	return func(q graph.Request) graph.Fault {
		if strings.Contains(q.Path, part) {
			return f
		}
		return graph.Fault{}
	}
}

// serial is a fault function that may keep count.
func serial(f func(graph.Request) graph.Fault) func(graph.Request) graph.Fault {
	var mu sync.Mutex
	return func(q graph.Request) graph.Fault {
		mu.Lock()
		defer mu.Unlock()
		return f(q)
	}
}

// before runs something ahead of each request.
type before struct {
	do   func()
	next http.RoundTripper
}

func (b before) RoundTrip(r *http.Request) (*http.Response, error) {
	b.do()
	return b.next.RoundTrip(r)
}

func adapterOver(t *testing.T, r rig, do func()) *core.GraphRequestAdapterBase {
	t.Helper()
	dc := r.c.Directories[0]
	p, err := dc.prepare(nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := newAdapter(p, p.credential, before{do, direct{r.g}})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

const html = "<html><body>Bad gateway canary-body</body></html>"

// Every answer that a Graph, or what stands before it, can give.
func TestEveryAnswerBecomesAFailureThatSaysWhatToDo(t *testing.T) {
	raw := func(status int, kind, body string) graph.Fault {
		return graph.Fault{Raw: true, Status: status, Type: kind, Body: body}
	}
	const js = "application/json"
	for _, c := range []struct {
		name  string
		fault graph.Fault
		kind  bot.LookupKind
		says  string // part of the error
		tries int    // of the application's request; -1: one, or none because its neighbour was told first
		took  time.Duration
	}{
		{"401", graph.Fault{Status: 401}, bot.Denied, "Graph answered 401 InvalidAuthenticationToken", 1, 0},
		{"401 with claims the SDK cannot read", graph.Fault{Status: 401, Header: map[string]string{"WWW-Authenticate": `Bearer realm="", claims=eyJ9`}}, bot.Denied, "401", 1, 0},
		{"401 with claims that are no base64", graph.Fault{Status: 401, Header: map[string]string{"WWW-Authenticate": `Bearer realm="", claims="{}"`}}, bot.Denied, "401", 1, 0},
		{"401 that goes on asking for claims", graph.Fault{Status: 401, Header: map[string]string{"WWW-Authenticate": `Bearer realm="", error="insufficient_claims", claims="e30="`}}, bot.Denied, "401", 2, 0},
		{"403", graph.Fault{Status: 403}, bot.Denied, "grant Application.Read.All: Graph answered 403 Authorization_RequestDenied", 1, 0},
		{"403 without a body", raw(403, "", ""), bot.Denied, "Graph answered 403 HTTP403", 1, 0},
		{"404", graph.Fault{Status: 404}, bot.NoSuchApp, "Graph answered 404 Request_ResourceNotFound", 1, 0},
		{"404 of something else", raw(404, "text/html", html), bot.Busy, "check GRAPH_BASE_URL", 1, 0},
		{"400", graph.Fault{Status: 400}, bot.Busy, "Graph answered 400 Request_BadRequest", 1, 0},
		{"429 for longer than we have", graph.Fault{Status: 429, RetryAfter: "120"}, bot.Busy, "Graph answered 429 TooManyRequests", -1, 0},
		{"429 for a little", graph.Fault{Status: 429, RetryAfter: "2"}, bot.Busy, "429", 4, 6 * time.Second},
		{"429 without a time", graph.Fault{Status: 429}, bot.Busy, "429", 4, time.Second},
		{"429 with a time of no sense", graph.Fault{Status: 429, RetryAfter: "soon"}, bot.Busy, "429", 4, time.Second},
		{"429 that says now", graph.Fault{Status: 429, RetryAfter: "0"}, bot.Busy, "429", 4, time.Second},
		{"429 that says yesterday", graph.Fault{Status: 429, RetryAfter: "-86400"}, bot.Busy, "429", 4, time.Second},
		{"500", graph.Fault{Status: 500}, bot.Busy, "Graph answered 500", 4, time.Second},
		{"502 in HTML", raw(502, "text/html", html), bot.Busy, "Graph answered 502 HTTP502", 4, time.Second},
		{"503 in words", raw(503, "text/plain", "upstream connect error canary-body"), bot.Busy, "Graph answered 503", 4, time.Second},
		{"504", graph.Fault{Status: 504}, bot.Busy, "Graph answered 504", 4, time.Second},
		{"500 with broken JSON", raw(500, js, `{"error":{"code":"canary-b`), bot.Busy, "Graph answered 500 HTTP500", 4, time.Second},
		{"403 of {}", raw(403, js, `{}`), bot.Denied, "403", 1, 0},
		{"403 of no error", raw(403, js, `{"error":null}`), bot.Denied, "403", 1, 0},
		{"403 of an empty error", raw(403, js, `{"error":{}}`), bot.Denied, "403", 1, 0},
		{"403 of a string", raw(403, js, `{"error":"invalid_grant","error_description":"canary-body"}`), bot.Denied, "403", 1, 0},
		{"403 of a list", raw(403, js, `[]`), bot.Denied, "403", 1, 0},
		{"403 with a sentence for a code", raw(403, js, `{"error":{"code":"user canary-body <!channel>","message":"canary-body"}}`), bot.Denied, "Graph answered 403 HTTP403", 1, 0},
		{"200 in HTML", raw(200, "text/html", html), bot.Busy, "not-json; what answered is not Graph", 1, 0},
		{"200 with nothing", raw(200, js, ""), bot.Busy, "nothing", 4, time.Second},
		{"200 with nothing and no type", raw(200, "", ""), bot.Busy, "nothing", 4, time.Second},
		{"204", raw(204, "", ""), bot.Busy, "nothing", 4, time.Second},
		{"200 of null", raw(200, js, "null"), bot.Busy, "unreadable", 1, 0},
		{"200 of a list", raw(200, js, "[1]"), bot.Busy, "unreadable", 1, 0},
		{"200 of a string", raw(200, js, `"canary-body"`), bot.Busy, "unreadable", 1, 0},
		{"200 of half an object", raw(200, js, `{"id":"canary-b`), bot.Busy, "unreadable", 1, 0},
		{"200 of an object and more", raw(200, js, `{"id":"x"} canary-body`), bot.Busy, "unreadable", 1, 0},
		{"200 of {}", raw(200, js, "{}"), bot.Busy, "no id", 1, 0},
		{"200 over the limit", raw(200, js, `{"id":"`+strings.Repeat("x", mostOfAnswer)+`"}`), bot.Busy, "too-large", 1, 0},
		{"302 to elsewhere", graph.Fault{Raw: true, Status: 302, Header: map[string]string{"Location": "https://login.evil.example/?q=canary-body"}}, bot.Busy, "redirected", 1, 0},
		{"302 to nowhere", raw(302, "", ""), bot.Busy, "redirected", 1, 0},
		{"a connection that breaks", graph.Fault{Drop: true}, bot.Busy, "unreachable", 4, time.Second},
		{"no answer at all", graph.Fault{Hang: true}, bot.Busy, "timeout", 3, 20 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := inside(t, nil)
				r.g.Break(func(graph.Request) graph.Fault { return c.fault })
				began := time.Now()
				err := r.fails(t, ledger)
				took := time.Since(began)
				if err.Kind != c.kind || !strings.Contains(err.Error(), c.says) {
					t.Errorf("kind %d, %q; want kind %d and %q", err.Kind, err, c.kind, c.says)
				}
				if n := r.asked("applications(appId="); n != c.tries && (c.tries != -1 || n > 1) {
					t.Errorf("asked %d times, want %d", n, c.tries)
				}
				if took < c.took || took > c.took+12*time.Second {
					t.Errorf("took %v", took)
				}
				if s := err.Error() + r.log.String(); strings.Contains(s, "canary") || strings.Contains(s, "sandbox.") {
					t.Errorf("shows what it must not: %s", s)
				}
			})
		})
	}
}

func TestAThrottledDirectorySaysWhenToComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := inside(t, nil)
		r.g.Break(func(graph.Request) graph.Fault { return graph.Fault{Status: 429, RetryAfter: "120"} })
		began := time.Now()
		if err := r.fails(t, ledger); err.After != 2*time.Minute || time.Since(began) > 0 {
			t.Errorf("come back after %v, said after %v", err.After, time.Since(began))
		}
		asked := len(r.g.Requests())
		time.Sleep(30 * time.Second)
		if err := r.fails(t, orphan); err.After != 90*time.Second || len(r.g.Requests()) != asked {
			t.Errorf("another app while it is quiet: come back after %v, %d requests more", err.After, len(r.g.Requests())-asked)
		}
		r.g.Break(nil)
		time.Sleep(90 * time.Second)
		r.look(t, ledger)
	})
}

func TestAPassingFaultIsNotSeen(t *testing.T) {
	for _, f := range []graph.Fault{{Status: 429, RetryAfter: "1.9"}, {Status: 503}, {Status: 502, Raw: true, Type: "text/html", Body: html}, {Drop: true}, {Raw: true}} {
		synctest.Test(t, func(t *testing.T) {
			r := inside(t, nil)
			left := 3
			r.g.Break(serial(func(graph.Request) graph.Fault {
				if left == 0 {
					return graph.Fault{}
				}
				left--
				return f
			}))
			if e := r.look(t, ledger); len(e.Owners) != 4 || len(e.Gaps) != 0 {
				t.Errorf("%+v: %+v", f, e)
			}
		})
	}
}

// An application that may be there and could not be read is not an app without
// owners: the service principal alone would make it look like one.
func TestAnApplicationThatCouldNotBeReadIsAskedForLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := inside(t, nil)
		r.g.Break(only("applications(", graph.Fault{Status: 503}))
		if err := r.fails(t, ledger); err.Kind != bot.Busy {
			t.Error(err)
		}
		r.g.Break(only("servicePrincipals(", graph.Fault{Status: 503}))
		e := r.look(t, ledger)
		if len(e.Owners) != 4 || len(e.Gaps) != 1 || e.Gaps[0] != (bot.Gap{What: "the service principal", Why: "503"}) {
			t.Errorf("%+v", e)
		}
	})
}

// What the SDK does with answers nobody has thought of yet.
func TestAPanicOrNothingFromTheSDKIsARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := inside(t, nil)
		for _, c := range []struct {
			code string
			get  func(context.Context) (page, error)
		}{
			{"unreadable", func(context.Context) (page, error) { panic("canary") }},
			{"nothing", func(context.Context) (page, error) { return nil, nil }},
			{"unreadable", func(context.Context) (page, error) { return nil, odataerrors.NewODataError() }},
		} {
			_, refused := ask(t.Context(), r.tenants[0], "", c.get)
			if refused == nil || refused.kind != bot.Busy || refused.code != c.code || strings.Contains(refused.Error(), "canary") {
				t.Errorf("%q: %v", c.code, refused)
			}
			if len(r.tenants[0].slots) != 0 {
				t.Errorf("%q: a slot was kept", c.code)
			}
		}
	})
}

// A challenge for claims is answered once with a new token.
func TestAClaimsChallengeIsAnswered(t *testing.T) {
	r := overLoopback(t, nil)
	once := true
	r.g.Break(serial(func(q graph.Request) graph.Fault {
		if once && strings.Contains(q.Path, "applications(") {
			once = false
			return graph.Fault{Status: 401, Header: map[string]string{"WWW-Authenticate": `Bearer realm="", error="insufficient_claims", claims="e30="`}}
		}
		return graph.Fault{}
	}))
	if e := r.look(t, ledger); e.ObjectID != ledgerID {
		t.Errorf("%+v", e)
	}
}

func TestRetriedAnswersLeaveNoConnectionBehind(t *testing.T) {
	open := 0
	r := overLoopback(t, func(c *Config, _ *graph.Config) { c.Attempt = time.Second })
	r.tenants[0].adapter = adapterCounting(t, r, &open)
	n := 0
	r.g.Break(serial(func(graph.Request) graph.Fault {
		if n++; n%2 == 0 {
			return graph.Fault{}
		}
		return graph.Fault{Raw: true, Status: 503, Type: "text/html", Body: html}
	}))
	r.look(t, orphan)
	if open != 0 {
		t.Errorf("%d bodies were not closed", open)
	}
}

type counted struct {
	io.ReadCloser
	close func()
}

func (c counted) Close() error { c.close(); return c.ReadCloser.Close() }

type counting struct {
	next http.RoundTripper
	open *int
	lock chan struct{}
}

func (c counting) add(n int) { c.lock <- struct{}{}; *c.open += n; <-c.lock }

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(r)
	if err == nil {
		c.add(1)
		closed := false
		resp.Body = counted{resp.Body, func() {
			if !closed {
				closed = true
				c.add(-1)
			}
		}}
	}
	return resp, err
}

func adapterCounting(t *testing.T, r rig, open *int) *core.GraphRequestAdapterBase {
	t.Helper()
	p, err := r.c.Directories[0].prepare(nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := newAdapter(p, p.credential, counting{direct{r.g}, open, make(chan struct{}, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestRetryAfterIsReadInEveryForm(t *testing.T) {
	now := time.Date(2026, 11, 18, 7, 0, 0, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"2": 2 * time.Second, "1.9": 1900 * time.Millisecond, " 3 ": 3 * time.Second, "0": 0, "-5": 0, "soon": 0, "": 0, "NaN": 0,
		"Wed, 18 Nov 2026 07:00:30 GMT": 30 * time.Second, "Wed, 18 Nov 2026 06:00:00 GMT": 0,
		"99999999999999": time.Hour, "Inf": time.Hour,
	} {
		if got := retryAfter(v, now); got != want {
			t.Errorf("%q: %v, want %v", v, got, want)
		}
	}
}

// The look-ups of many at once, under faults of every kind, end, and say why.
func TestAStormOfFaultsEndsInAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := inside(t, nil)
		n := 0
		faults := []graph.Fault{{}, {Status: 429, RetryAfter: "1"}, {}, {Status: 503}, {Drop: true}, {}, {Raw: true, Status: 502, Body: html}, {}, {Hang: true}}
		r.g.Break(serial(func(graph.Request) graph.Fault {
			n++
			return faults[n%len(faults)]
		}))
		done := make(chan error)
		apps := []string{ledger, orphan, byRobot, byGroup, abroad, nobodys}
		for i := range 60 {
			go func() {
				_, err := r.App(t.Context(), bot.AppQuery{AppID: apps[i%len(apps)]}, i%3 == 0)
				done <- err
			}()
		}
		for range 60 {
			var failed *bot.LookupError
			if err := <-done; err != nil && !errors.As(err, &failed) {
				t.Errorf("%T %v", err, err)
			}
		}
	})
}
