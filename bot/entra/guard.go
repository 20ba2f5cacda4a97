package entra

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"rehome/bot"
)

// A guard stands between the SDK and the network. It lets through only what the SDK
// can read without losing the status, returning nil or panicking:
//
//   - requests go to one host, with a token, or not at all;
//   - an error is an OData error with a status, whatever its body was;
//   - a success is a JSON object, repaired where single values are odd;
//   - a redirect, an empty answer, HTML and anything too large are refusals.
type guard struct {
	next   http.RoundTripper
	scheme string
	host   string // with the port
}

const (
	mostOfError  = 64 << 10
	mostOfAnswer = 8 << 20 // a page of 999 owners is under one
)

// RoundTrip makes one request.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	switch {
	case req.URL.Scheme != g.scheme || !strings.EqualFold(req.URL.Host, g.host):
		return nil, refuseRequest(req, "foreign-address", "Graph pointed at another host, which was not asked")
	case req.Header.Get("Authorization") == "":
		return nil, refuseRequest(req, "no-token", "the SDK would have asked without a token; check the directory's Graph address")
	}
	resp, err := g.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return plainError(resp), nil
	}
	body, refused := readAnswer(resp)
	if refused != nil {
		return nil, refused
	}
	return withBody(resp, body), nil
}

func refuseRequest(req *http.Request, code, hint string) *refusal {
	if req.Body != nil {
		_ = req.Body.Close() // a RoundTripper's duty; nothing was sent
	}
	return &refusal{kind: bot.Busy, code: code, hint: hint}
}

// readAnswer returns the repaired body of a success, or a refusal when it is none.
func readAnswer(resp *http.Response) ([]byte, *refusal) {
	defer func() { _ = resp.Body.Close() }()
	odd := func(code, hint string) *refusal {
		return &refusal{kind: bot.Busy, code: code, hint: hint}
	}
	if resp.StatusCode != http.StatusOK {
		if resp.StatusCode >= http.StatusMultipleChoices {
			return nil, odd("redirected", "Graph does not redirect; check GRAPH_BASE_URL and any proxy")
		}
		return nil, &refusal{kind: bot.Busy, code: "nothing", again: true, hint: "Graph answered " + strconv.Itoa(resp.StatusCode) + " without an object"}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostOfAnswer+1))
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case err != nil:
		return nil, readError(err, "")
	case len(body) > mostOfAnswer:
		return nil, odd("too-large", "the answer is over 8 MiB")
	case len(bytes.TrimSpace(body)) == 0:
		return nil, &refusal{kind: bot.Busy, code: "nothing", again: true, hint: "Graph answered 200 with nothing in it"}
	case kind != "application/json":
		return nil, odd("not-json", "what answered is not Graph; check GRAPH_BASE_URL and any proxy")
	}
	repaired, ok := repair(body)
	if !ok {
		return nil, odd("unreadable", "Graph's answer is not a JSON object")
	}
	return repaired, nil
}

// plainError rewrites an error answer into the one shape that the SDK reads
// safely. Graph's message stays here: it may quote names and ids.
func plainError(resp *http.Response) *http.Response {
	var said struct {
		Error struct {
			Code  string `json:"code"`
			Inner struct {
				Request string `json:"request-id"`
			} `json:"innerError"`
		} `json:"error"`
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, mostOfError)) // what there is of it; the status is enough
	_ = resp.Body.Close()
	_ = json.Unmarshal(body, &said) // a body of another shape has no code to show
	name := code(said.Error.Code)
	if name == "" {
		name = "HTTP" + strconv.Itoa(resp.StatusCode)
	}
	if id := plainGUID(said.Error.Inner.Request); id != "" && resp.Header.Get("request-id") == "" {
		resp.Header.Set("request-id", id)
	}
	keepChallenge(resp.Header)
	plain, err := json.Marshal(map[string]any{"error": map[string]any{"code": name, "message": name}})
	if err != nil { // unreachable: two strings
		plain = []byte(`{"error":{"code":"HTTP","message":"HTTP"}}`)
	}
	return withBody(resp, plain)
}

func withBody(resp *http.Response, body []byte) *http.Response {
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	resp.Header.Set("Content-Type", "application/json")
	resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
	resp.Header.Del("Content-Encoding")
	return resp
}

// claims matches a challenge with a quoted claims parameter, which is in base64.
var claims = regexp.MustCompile(`(?i)^Bearer\s(?:[^,]*,)*?\s*claims="([^"]*)"`)

// keepChallenge drops a WWW-Authenticate header unless the SDK can decode its
// claims parameter; it panics on some others. The SDK answers a well-formed one
// once with a new token (continuous access evaluation).
func keepChallenge(h http.Header) {
	v := h.Get("WWW-Authenticate")
	if v == "" {
		return
	}
	if m := claims.FindStringSubmatch(v); m != nil {
		if _, err := base64.StdEncoding.DecodeString(m[1]); err == nil {
			h.Set("WWW-Authenticate", `Bearer claims="`+m[1]+`"`)
			return
		}
	}
	h.Del("WWW-Authenticate")
}
