package graph

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// An answer is what a route says: a body, or an error with Graph's code.
type answer struct {
	status        int
	body          map[string]any
	code, message string
}

func refuse(status int, code, message string) answer {
	if code == "" {
		code = usualCode[status]
	}
	if code == "" {
		code = "UnknownError"
	}
	return answer{status: status, code: code, message: message}
}

var usualCode = map[int]string{
	http.StatusBadRequest:          "Request_BadRequest",
	http.StatusUnauthorized:        "InvalidAuthenticationToken",
	http.StatusForbidden:           "Authorization_RequestDenied",
	http.StatusNotFound:            "Request_ResourceNotFound",
	http.StatusTooManyRequests:     "TooManyRequests",
	http.StatusInternalServerError: "InternalServerError",
	http.StatusBadGateway:          "BadGateway",
	http.StatusServiceUnavailable:  "ServiceUnavailable",
	http.StatusGatewayTimeout:      "GatewayTimeout",
}

// keyed is a path segment with an alternate key: applications(appId='…').
var keyed = regexp.MustCompile(`^(applications|servicePrincipals)\(appId='([^']*)'\)$`)

// answer looks a request's route up. What a tenant's caller may not read it
// does not see.
func (s *Server) answer(r *http.Request, t *tenant) answer {
	if t == nil {
		return refuse(http.StatusUnauthorized, "", "Access token validation failure.")
	}
	if r.Method != http.MethodGet {
		return refuse(http.StatusForbidden, "", "Insufficient privileges to complete the operation.")
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/v1.0/")
	if !ok {
		return refuse(http.StatusBadRequest, "BadRequest", "Invalid version: use v1.0")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q, refused := readQuery(r.URL.RawQuery)
	if refused != nil {
		return *refused
	}
	v := &view{s: s, t: t, r: r, query: q}
	return v.route(strings.Split(path, "/"))
}

// A view is one caller's request in one tenant.
type view struct {
	s     *Server
	t     *tenant
	r     *http.Request
	query query
}

func (v *view) may(permission string) bool {
	return v.t.granted[permission] || v.t.granted[DirectoryRead]
}

var denied = refuse(http.StatusForbidden, "", "Insufficient privileges to complete the operation.")

func (v *view) route(path []string) answer {
	head := path[0]
	if m := keyed.FindStringSubmatch(head); m != nil {
		return v.under(m[1], path[1:], func(o object) bool { return strings.EqualFold(o.appID(), m[2]) }, m[2])
	}
	switch {
	case head == "applications" || head == "servicePrincipals":
		if len(path) == 1 || path[1] == "" {
			return v.list(head)
		}
		return v.under(head, path[2:], func(o object) bool { return strings.EqualFold(o.id(), path[1]) }, path[1])
	case head == "users" && len(path) == 2:
		if !v.may(UserRead) {
			return denied
		}
		o, found := v.find("user", func(o object) bool { return strings.EqualFold(o.id(), path[1]) })
		if !found {
			return missing(path[1])
		}
		return v.one(head, o)
	case head == "groups" && len(path) == 3:
		return v.members(path[1], path[2])
	}
	return refuse(http.StatusBadRequest, "BadRequest", "Resource not found for the segment '"+head+"'.")
}

// under answers for one application or service principal and what hangs on it.
func (v *view) under(set string, rest []string, is func(object) bool, named string) answer {
	if !v.may(ApplicationRead) {
		return denied
	}
	o, found := v.find(kindOf(set), is)
	if !found {
		return missing(named)
	}
	switch {
	case len(rest) == 0:
		return v.one(set, o)
	case len(rest) == 1 && rest[0] == "owners":
		return v.objects(o.owners, set+"('"+o.id()+"')/owners")
	case len(rest) == 1 && rest[0] == "federatedIdentityCredentials" && set == "applications":
		return v.collection(federated(o.federated), set+"('"+o.id()+"')/federatedIdentityCredentials")
	}
	return refuse(http.StatusBadRequest, "BadRequest", "Resource not found for the segment '"+rest[0]+"'.")
}

func kindOf(set string) string { return strings.TrimSuffix(set, "s") }

func missing(named string) answer {
	return refuse(http.StatusNotFound, "", "Resource '"+named+"' does not exist or one of its queried reference-property objects are not present.")
}

func (v *view) find(kind string, is func(object) bool) (object, bool) {
	for _, o := range v.t.objects {
		if o.kind == kind && is(o) {
			return o, true
		}
	}
	return object{}, false
}

func (v *view) one(set string, o object) answer {
	body, refused := v.project(o.properties, o.usual)
	if refused != nil {
		return *refused
	}
	body["@odata.context"] = v.context(set + "/$entity")
	return answer{status: http.StatusOK, body: body}
}

var byAppID = regexp.MustCompile(`^(appId|id) eq '([^']*)'$`)

// list is a whole set, or what one $filter leaves of it.
func (v *view) list(set string) answer {
	if !v.may(ApplicationRead) {
		return denied
	}
	var found []object
	m := byAppID.FindStringSubmatch(v.query.filter)
	if v.query.filter != "" && m == nil {
		return refuse(http.StatusBadRequest, "Request_UnsupportedQuery", "Unsupported or invalid query filter clause.")
	}
	for _, o := range v.t.objects {
		if o.kind == kindOf(set) && (m == nil || strings.EqualFold(fmt.Sprint(o.properties[m[1]]), m[2])) {
			found = append(found, o)
		}
	}
	slices.SortFunc(found, func(a, b object) int { return strings.Compare(a.id(), b.id()) })
	rows := make([]map[string]any, 0, len(found))
	for _, o := range found {
		rows = append(rows, o.properties)
	}
	return v.collection(rows, set)
}

// members are a group's, direct or of the groups in it as well.
func (v *view) members(id, how string) answer {
	if how != "members" && how != "transitiveMembers" {
		return refuse(http.StatusBadRequest, "BadRequest", "Resource not found for the segment '"+how+"'.")
	}
	if !v.may(GroupMemberRead) {
		return denied
	}
	g, found := v.find("group", func(o object) bool { return strings.EqualFold(o.id(), id) })
	if !found {
		return missing(id)
	}
	ids := g.members
	if how == "transitiveMembers" {
		ids = v.t.reach(g, map[string]bool{g.id(): true})
	}
	return v.objects(ids, "directoryObjects")
}

func (t *tenant) reach(g object, seen map[string]bool) []string {
	var ids []string
	for _, id := range g.members {
		if seen[id] {
			continue
		}
		seen[id] = true
		ids = append(ids, id)
		ids = append(ids, t.reach(t.objects[id], seen)...)
	}
	return ids
}

// objects lists directory objects of any kind, bare where their kind may not be
// read.
func (v *view) objects(ids []string, context string) answer {
	needs := map[string]string{"user": UserRead, "group": GroupMemberRead, "servicePrincipal": ApplicationRead, "application": ApplicationRead}
	rows := make([]map[string]any, 0, len(ids))
	for _, id := range ids {
		o, known := v.t.objects[id]
		if !known {
			o = object{kind: "directoryObject", properties: map[string]any{"id": id}}
		}
		if known && !v.may(needs[o.kind]) {
			o = o.bare()
		}
		row, shown := map[string]any{"@odata.type": typeName(o.kind)}, o.usual
		if len(v.query.selected) > 0 {
			shown = v.query.selected // of objects of several kinds each has what its kind has
		}
		for name, value := range o.properties {
			if len(shown) == 0 || slices.Contains(shown, name) {
				row[name] = value
			}
		}
		rows = append(rows, row)
	}
	v.query.selected = nil
	return v.collection(rows, context)
}

// collection is one page of rows, and the address of the next.
func (v *view) collection(rows []map[string]any, context string) answer {
	from, size := v.query.skip, v.query.top
	if size == 0 {
		size = v.s.page
	}
	from = min(from, len(rows))
	to := min(from+size, len(rows))
	value := make([]any, 0, to-from)
	for _, row := range rows[from:to] {
		shown, refused := v.project(row, nil)
		if refused != nil {
			return *refused
		}
		value = append(value, shown)
	}
	body := map[string]any{"@odata.context": v.context(context), "value": value}
	if to < len(rows) {
		body["@odata.nextLink"] = v.next(to)
	}
	return answer{status: http.StatusOK, body: body}
}

// project keeps what was selected of an object.
func (v *view) project(o map[string]any, usual []string) (map[string]any, *answer) {
	shown := map[string]any{}
	for _, name := range v.query.selected {
		if _, known := o[name]; !known {
			a := refuse(http.StatusBadRequest, "", "Could not find a property named '"+name+"'.")
			return nil, &a
		}
	}
	for name, value := range o {
		switch {
		case len(v.query.selected) > 0:
			if slices.Contains(v.query.selected, name) {
				shown[name] = value
			}
		case len(usual) == 0 || slices.Contains(usual, name) || name == "@odata.type":
			shown[name] = value
		}
	}
	return shown, nil
}

func (v *view) address() string {
	scheme := "http"
	if v.r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + v.r.Host
}

func (v *view) context(of string) string { return v.address() + "/v1.0/$metadata#" + of }

// next is the address of the page that begins at row at.
func (v *view) next(at int) string {
	q, _ := url.ParseQuery(v.r.URL.RawQuery) // was read before
	q.Set("$skiptoken", base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(at))))
	return v.address() + v.r.URL.Path + "?" + q.Encode()
}

// A query is the system query options of a request.
type query struct {
	selected  []string
	filter    string
	top, skip int
}

func readQuery(raw string) (query, *answer) {
	bad := func(why string) (query, *answer) {
		a := refuse(http.StatusBadRequest, "BadRequest", why)
		return query{}, &a
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return bad("The query specified in the URI is not valid.")
	}
	var q query
	for name, of := range values {
		value := of[0]
		switch name {
		case "$select":
			q.selected = strings.Split(value, ",")
		case "$filter":
			q.filter = value
		case "$count":
		case "$top":
			q.top, err = strconv.Atoi(value)
			if err != nil || q.top < 1 || q.top > 999 {
				return bad("Invalid page size specified: '" + value + "'. Must be between 1 and 999 inclusive.")
			}
		case "$skiptoken":
			b, _ := base64.RawURLEncoding.DecodeString(value)
			q.skip, err = strconv.Atoi(string(b))
			if err != nil || q.skip < 0 {
				return bad("The specified page token value has expired or is not valid.")
			}
		default:
			return bad("The query parameter '" + name + "' is not supported.")
		}
	}
	return q, nil
}

// write sends an answer, or Graph's error for it.
func (s *Server) write(w http.ResponseWriter, r *http.Request, a answer) {
	s.mu.Lock()
	s.served++
	id := fmt.Sprintf("%08x-0000-4000-8000-%012x", s.served, s.served)
	s.mu.Unlock()
	body := a.body
	if a.status >= 400 {
		body = map[string]any{"error": map[string]any{"code": a.code, "message": a.message, "innerError": map[string]any{
			"date": s.now().UTC().Format("2006-01-02T15:04:05"), "request-id": id, "client-request-id": r.Header.Get("client-request-id"),
		}}}
	}
	out, err := json.Marshal(body)
	if err != nil {
		http.Error(w, "encoding: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8")
	w.Header().Set("request-id", id)
	w.WriteHeader(a.status)
	_, _ = w.Write(out) // a client that has gone away misses nothing
}
