package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// This file is the front door of the Web API: from an HTTP request to a method, through the checks
// every method shares, in Slack's order: does the method exist, whose token is it, may it, too often?

const maxRequest = 1 << 20 // bytes of one API request; Slack does not publish its own

// A method is one Web API method.
type method struct {
	scope string    // the bot scope it needs; "" none; "*:history" depends on the channel
	rate  rate      // its tier
	token tokenKind // whose token it takes
	run   func(*Workspace, *request) (reply, *apiError)
}

type tokenKind int

const (
	botToken tokenKind = iota
	appToken
	anyToken // or none
)

var methods = map[string]method{
	"api.test":              {rate: tier4, token: anyToken, run: (*Workspace).apiTest},
	"auth.test":             {rate: special, run: (*Workspace).authTest},
	"apps.connections.open": {rate: tier3, token: appToken, run: (*Workspace).connectionsOpen},
	"bots.info":             {scope: "users:read", rate: tier3, run: (*Workspace).botsInfo},
	"team.info":             {scope: "team:read", rate: tier3, run: (*Workspace).teamInfo},

	"chat.postMessage":   {scope: "chat:write", rate: perChannel, run: (*Workspace).postMessage},
	"chat.update":        {scope: "chat:write", rate: tier3, run: (*Workspace).updateMessage},
	"chat.delete":        {scope: "chat:write", rate: tier3, run: (*Workspace).deleteMessage},
	"chat.postEphemeral": {scope: "chat:write", rate: tier4, run: (*Workspace).postEphemeral},
	"chat.getPermalink":  {rate: special, run: (*Workspace).getPermalink},

	"conversations.open":    {scope: "im:write", rate: tier3, run: (*Workspace).conversationsOpen},
	"conversations.info":    {scope: "*:read", rate: tier3, run: (*Workspace).conversationsInfo},
	"conversations.list":    {scope: "*:read", rate: tier2, run: (*Workspace).conversationsList},
	"conversations.members": {scope: "*:read", rate: tier4, run: (*Workspace).conversationsMembers},
	"conversations.join":    {scope: "channels:join", rate: tier3, run: (*Workspace).conversationsJoin},
	"conversations.history": {scope: "*:history", rate: tier3, run: (*Workspace).conversationsHistory},
	"conversations.replies": {scope: "*:history", rate: tier3, run: (*Workspace).conversationsReplies},

	"users.info":          {scope: "users:read", rate: tier4, run: (*Workspace).usersInfo},
	"users.list":          {scope: "users:read", rate: tier2, run: (*Workspace).usersList},
	"users.lookupByEmail": {scope: "users:read.email", rate: tier3, run: (*Workspace).usersLookupByEmail},
	"users.profile.get":   {scope: "users.profile:read", rate: tier4, run: (*Workspace).usersProfileGet},

	"views.open":    {rate: tier4, run: (*Workspace).viewsOpen},
	"views.push":    {rate: tier4, run: (*Workspace).viewsPush},
	"views.update":  {rate: tier4, run: (*Workspace).viewsUpdate},
	"views.publish": {rate: tier4, run: (*Workspace).viewsPublish},

	"reactions.add":    {scope: "reactions:write", rate: tier3, run: (*Workspace).reactionsAdd},
	"reactions.remove": {scope: "reactions:write", rate: tier2, run: (*Workspace).reactionsRemove},
}

type reply map[string]any

// apiError is how Slack says no: HTTP 200, "ok": false, a code, and what there is to know about it.
type apiError struct {
	code             string
	needed, provided string   // missing_scope
	problems         []string // invalid_blocks, invalid_arguments: "text [json-pointer:/blocks/0]"
	retryAfter       time.Duration
}

func refuse(code string) *apiError { return &apiError{code: code} }

// request is one authenticated call.
type request struct {
	method string
	args   args
	host   string        // scheme://host the client used
	late   time.Duration // LateVisible: what it posts is not in history yet
}

// Call is one API call as the app made it. The token is not kept.
type Call struct {
	Method string
	Args   map[string]any // strings as sent; JSON in strings is left as it is
	At     time.Time
	OK     bool
	Error  string // Slack's error code, or the fault that hit the call
}

func (w *Workspace) serveAPI(rw http.ResponseWriter, r *http.Request) {
	name := r.PathValue("method")
	fault := w.faultFor(name)
	if !w.before(rw, r, fault) {
		w.record(Call{Method: name, Error: fault.Kind.String()})
		return
	}
	a, token, failed := readArgs(rw, r)
	req := &request{method: name, args: a, host: hostOf(r), late: fault.lateness()}
	var out reply
	if failed == nil {
		out, failed = w.call(req, token)
	}
	w.sayScopes(rw, token)
	if fault.Kind.after() {
		w.record(Call{Method: name, Args: a.logged(), OK: failed == nil, Error: fault.Kind.String()})
		w.after(rw, fault, encodeReply(out, failed))
		return
	}
	c := Call{Method: name, Args: a.logged(), OK: failed == nil}
	if failed != nil {
		c.Error = failed.code
	}
	w.record(c)
	writeReply(rw, out, failed)
}

// call runs a method under the lock, after the checks they all share.
func (w *Workspace) call(req *request, token string) (reply, *apiError) {
	m, known := methods[req.method]
	if !known {
		return nil, refuse("unknown_method")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if e := w.authorize(m, token); e != nil {
		return nil, e
	}
	if m.token != anyToken {
		w.base = req.host
	}
	if m.scope != "" && !strings.HasPrefix(m.scope, "*") {
		if e := w.needScope(m.scope); e != nil {
			return nil, e
		}
	}
	if w.cfg.RateLimits {
		if wait := w.limits.take(m.rate, req.method, w.oneName(req.args.str("channel")), w.cfg.Now()); wait > 0 {
			return nil, &apiError{code: "ratelimited", retryAfter: wait}
		}
	}
	return m.run(w, req)
}

func (w *Workspace) authorize(m method, token string) *apiError {
	if m.token == anyToken {
		return nil
	}
	right, wrong, revoked := w.app.BotToken, w.app.AppToken, w.app.BotTokenError
	if m.token == appToken {
		right, wrong, revoked = wrong, right, w.app.AppTokenError
	}
	switch {
	case token == "":
		return refuse("not_authed")
	case right != "" && token == right && revoked != "":
		return refuse(revoked)
	case right != "" && token == right:
		return nil
	case token == wrong:
		return refuse("not_allowed_token_type")
	}
	return refuse("invalid_auth")
}

// sayScopes adds the header that tells a token what it may do.
func (w *Workspace) sayScopes(rw http.ResponseWriter, token string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if token != "" && token == w.app.BotToken && w.app.BotTokenError == "" {
		rw.Header().Set("X-OAuth-Scopes", strings.Join(w.app.Scopes, ","))
	}
}

func (w *Workspace) needScope(scope string) *apiError {
	if slices.Contains(w.app.Scopes, scope) {
		return nil
	}
	return &apiError{code: "missing_scope", needed: scope, provided: strings.Join(w.app.Scopes, ",")}
}

// needChannelScope asks for channels:history, groups:history or im:history as the channel is.
func (w *Workspace) needChannelScope(c *channel, what string) *apiError {
	prefix := map[string]string{"channel": "channels", "group": "groups", "im": "im"}[c.kind()]
	return w.needScope(prefix + ":" + what)
}

func (w *Workspace) record(c Call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.At = w.cfg.Now()
	w.calls = keepLast(append(w.calls, c))
	w.touch()
}

const logKept = 20_000 // calls and deliveries a test can look back on; a demo may run for weeks

// keepLast forgets the older half of a log that has grown too long.
func keepLast[T any](log []T) []T {
	if len(log) > logKept {
		return slices.Clone(log[logKept/2:])
	}
	return log
}

func writeReply(rw http.ResponseWriter, out reply, failed *apiError) {
	rw.Header().Set("Content-Type", "application/json; charset=utf-8")
	if failed != nil && failed.retryAfter > 0 {
		rw.Header().Set("Retry-After", strconv.Itoa(int((failed.retryAfter+time.Second-1)/time.Second)))
		rw.WriteHeader(http.StatusTooManyRequests)
	}
	_, _ = rw.Write(encodeReply(out, failed)) // the client has gone: nobody to tell
}

func encodeReply(out reply, failed *apiError) []byte {
	if failed == nil {
		if out == nil {
			out = reply{}
		}
		out["ok"] = true
		return mustJSON(out)
	}
	body := reply{"ok": false, "error": failed.code}
	if failed.needed != "" {
		body["needed"], body["provided"] = failed.needed, failed.provided
	}
	if len(failed.problems) > 0 {
		messages := make([]string, len(failed.problems))
		for i, p := range failed.problems {
			messages[i] = "[ERROR] " + p
		}
		body["errors"] = failed.problems
		body["response_metadata"] = map[string]any{"messages": messages}
	}
	return mustJSON(body)
}

func hostOf(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

// args are a call's arguments: strings if they came in a form, anything if they came as JSON.
type args map[string]any

// readArgs takes form, JSON, multipart and query arguments, and the token from the header or the form.
func readArgs(rw http.ResponseWriter, r *http.Request) (args, string, *apiError) {
	r.Body = http.MaxBytesReader(rw, r.Body, maxRequest)
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	a := args{}
	for k, v := range r.URL.Query() {
		a[k] = v[0]
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case r.Method == http.MethodGet:
	case r.Method != http.MethodPost:
		return a, token, refuse("invalid_post_type")
	case kind == "application/json":
		if failed := a.addJSON(r.Body); failed != nil {
			return a, token, failed
		}
		return a, token, nil // a token in a JSON body does not count
	case kind == "application/x-www-form-urlencoded" || kind == "multipart/form-data":
		parse := r.ParseForm
		if kind == "multipart/form-data" {
			parse = func() error { return r.ParseMultipartForm(maxRequest) }
		}
		if parse() != nil {
			return a, token, refuse("invalid_form_data")
		}
		for k, v := range r.PostForm {
			a[k] = v[0]
		}
		if r.MultipartForm != nil {
			for k, v := range r.MultipartForm.Value {
				a[k] = v[0]
			}
		}
	case err != nil && r.ContentLength == 0: // a POST of nothing needs no type
	default:
		return a, token, refuse("invalid_post_type")
	}
	if token == "" {
		token = a.str("token")
	}
	return a, token, nil
}

func (a args) addJSON(body io.Reader) *apiError {
	b, err := io.ReadAll(body)
	if err != nil {
		return refuse("request_timeout")
	}
	if b = bytes.TrimSpace(b); len(b) == 0 || string(b) == "null" {
		return nil
	}
	v, err := decodeJSON(b)
	if err != nil {
		return refuse("invalid_json")
	}
	o, ok := v.(map[string]any)
	if !ok {
		return refuse("json_not_object")
	}
	maps.Copy(a, o)
	return nil
}

// decodeJSON reads exactly one JSON value, keeping numbers as they are written.
func decodeJSON(b []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	return v, nil
}

func (a args) str(name string) string {
	switch v := a[name].(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

func (a args) has(name string) bool {
	v, ok := a[name]
	return ok && v != nil
}

func (a args) bool(name string) bool {
	switch a.str(name) {
	case "1", "true":
		return true
	}
	return false
}

// json is an argument that is JSON: native in a JSON body, inside a string in a form. Absent, null
// and "" are nil.
func (a args) json(name string) (any, error) {
	s, ok := a[name].(string)
	if !ok {
		return a[name], nil
	}
	if strings.TrimSpace(s) == "" {
		return nil, nil
	}
	return decodeJSON([]byte(s))
}

// list is comma-separated text or a JSON array of strings.
func (a args) list(name string) []string {
	var out []string
	if v, ok := a[name].([]any); ok {
		for _, x := range v {
			out = append(out, str(x))
		}
		return out
	}
	for s := range strings.SplitSeq(a.str(name), ",") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

func (a args) logged() map[string]any {
	out := make(map[string]any, len(a))
	for k, v := range a {
		if k != "token" {
			out[k] = v
		}
	}
	return out
}
