package sandbox_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/slack-go/slack"

	"rehome/bot/sandbox"
)

// The page's side: what a browser asks, sends and is told.

func get(t *testing.T, url string) map[string]any {
	t.Helper()
	res, err := http.Get(url)
	check(t, err)
	defer res.Body.Close()
	var out map[string]any
	check(t, json.NewDecoder(res.Body).Decode(&out))
	return out
}

func send(t *testing.T, url, body string) (int, map[string]any) {
	t.Helper()
	res, err := http.Post(url, "application/json", strings.NewReader(body))
	check(t, err)
	defer res.Body.Close()
	var out map[string]any
	check(t, json.NewDecoder(res.Body).Decode(&out))
	return res.StatusCode, out
}

// events is a browser's stream.
type events struct {
	*bufio.Scanner
	last string
}

func listen(t *testing.T, base, user, since string) *events {
	t.Helper()
	req, err := http.NewRequestWithContext(soon(t), "GET", base+"/client/stream?user="+user+"&since="+since, nil)
	check(t, err)
	res, err := http.DefaultClient.Do(req)
	check(t, err)
	t.Cleanup(func() { _ = res.Body.Close() })
	if res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("the stream is %s", res.Status)
	}
	s := bufio.NewScanner(res.Body)
	s.Buffer(nil, 1<<20)
	return &events{Scanner: s}
}

// next reads until an event of one of the kinds.
func (e *events) next(t *testing.T, kinds ...string) (kind string, data map[string]any) {
	t.Helper()
	for e.Scan() {
		line := e.Text()
		switch {
		case strings.HasPrefix(line, "id: "):
			e.last = line[4:]
		case strings.HasPrefix(line, "event: "):
			kind = line[7:]
		case strings.HasPrefix(line, "data: ") && slices.Contains(kinds, kind):
			check(t, json.Unmarshal([]byte(line[6:]), &data))
			return kind, data
		}
	}
	t.Fatalf("the stream ended before %v: %v", kinds, e.Err())
	return "", nil
}

func TestThePageAndItsFilesAreServed(t *testing.T) {
	_, _, base := open(t, office())
	for path, want := range map[string]int{"/": 200, "/assets/": 404, "/assets/../workspace.go": 404, "/nowhere": 404} {
		res, err := http.Get(base + path)
		check(t, err)
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
}

func TestEachPersonSeesTheirOwnWorkspace(t *testing.T) {
	w, _, base := open(t, office())
	must(w.Say(ann, ops, "", "one"))
	names := func(user string) string {
		var all []string
		for _, c := range get(t, base+"/client/state?user="+user)["channels"].([]any) {
			c := c.(map[string]any)
			all = append(all, fmt.Sprint(c["name"], " ", c["unread"], " ", c["is_private"], " ", c["bot_is_member"]))
		}
		return strings.Join(all, ", ")
	}
	w.DM(ann)
	if got, want := names(ann), "ops 0 false true, secops 0 true true, lobby 0 false false, old 0 false true, helper 0 false true"; got != want {
		t.Errorf("ann sees %s", got)
	}
	if got, want := names(bob), "ops 1 false true, lobby 0 false false, old 0 false true"; got != want {
		t.Errorf("bob sees %s", got)
	}
	if got := names(gus); got != "" {
		t.Errorf("the guest sees %s", got)
	}
	state := get(t, base+"/client/state?user=nobody")
	if state["me"] != ann || state["workspace"].(map[string]any)["icon_text"] != "C" || len(state["commands"].([]any)) != 1 {
		t.Errorf("the state is %v", state)
	}
	if got := get(t, base+"/client/messages?user="+gus+"&channel="+ops); got["error"] != "not_found" {
		t.Errorf("the guest reads %v", got)
	}
}

func TestABrowserFollowsAConversationLive(t *testing.T) {
	w, api, base := open(t, office())
	bot := &helper{api: api}
	bot.command = func(c slack.SlashCommand) any { return map[string]any{"text": "only you: " + c.Text} }
	bot.action = func(c slack.InteractionCallback) any {
		if c.Type == slack.InteractionTypeBlockActions {
			if c.ActionCallback.BlockActions[0].Value == "open" {
				_, err := api.OpenView(c.TriggerID, form())
				check(t, err)
				return nil
			}
		}
		if c.Type == slack.InteractionTypeViewSubmission {
			return slack.NewErrorsViewSubmissionResponse(map[string]string{"name": "no"})
		}
		return nil
	}
	bot.run(t, w)
	seq := strconv.Itoa(int(get(t, base+"/client/state?user="+ann)["seq"].(float64)))
	page, other := listen(t, base, ann, seq), listen(t, base, bob, seq)

	status, sent := send(t, base+"/client/message", `{"user":"U1","channel":"C1","text":"hi @bob, see #lobby & <b>, me@bob or (@bob)"}`)
	if status != 200 || sent["ok"] != true {
		t.Fatalf("sent: %d %v", status, sent)
	}
	_, e := page.next(t, "message")
	if text := e["message"].(map[string]any)["text"]; text != "hi <@U2>, see <#C3> &amp; &lt;b&gt;, me@bob or (<@U2>)" {
		t.Errorf("the message is %q", text)
	}
	if _, e := other.next(t, "channel"); e["unread"] != 1.0 {
		t.Errorf("bob is told %v", e)
	}
	send(t, base+"/client/read", fmt.Sprintf(`{"user":"U2","channel":"C1","ts":%q}`, sent["ts"]))
	if _, e := other.next(t, "channel"); e["unread"] != 0.0 {
		t.Errorf("bob is told %v", e)
	}

	send(t, base+"/client/command", `{"user":"U1","channel":"C1","command":"/help","text":"me"}`)
	if _, e := page.next(t, "ephemeral", "toast"); e["message"] == nil || e["message"].(map[string]any)["text"] != "only you: me" {
		t.Errorf("the command gave %v", e)
	}

	_, ts, err := api.PostMessage(ops, slack.MsgOptionBlocks(slack.NewActionBlock("b",
		slack.NewButtonBlockElement("one", "open", slack.NewTextBlockObject("plain_text", "Open", false, false)))))
	check(t, err)
	page.next(t, "message")
	action := `{"user":"U1","container":{"type":"message","channel":"C1","message_ts":"` + ts + `"},"action":{"block_id":"b","action_id":"%s","type":"button"}}`
	if status, e := send(t, base+"/client/action", fmt.Sprintf(action, "gone")); status != 404 || e["error"] != "not_found" {
		t.Errorf("a button that is not there: %d %v", status, e)
	}
	send(t, base+"/client/action", fmt.Sprintf(action, "one"))
	_, e = page.next(t, "modal")
	view := e["view"].(map[string]any)["id"]
	if e["op"] != "open" || get(t, base+"/client/state?user=U1")["modal"].(map[string]any)["id"] != view {
		t.Errorf("the modal is %v", e)
	}
	send(t, base+"/client/submit", fmt.Sprintf(`{"user":"U1","view_id":%q,"state":{"values":{"name":{"name":{"type":"plain_text_input","value":"x"}}}}}`, view))
	if _, e := page.next(t, "modal"); e["op"] != "update" || e["errors"].(map[string]any)["name"] != "no" {
		t.Errorf("the errors are %v", e)
	}
	resume := page.last
	if status, e := send(t, base+"/client/close", fmt.Sprintf(`{"user":"U1","view_id":%q}`, view)); status != 200 {
		t.Errorf("closing: %v", e)
	}
	if _, e := page.next(t, "modal"); e["op"] != "close" {
		t.Errorf("the modal is %v", e)
	}

	// A page that was away gets what it missed, and only that.
	if _, e := listen(t, base, ann, resume).next(t, "message", "message_changed", "modal"); e["op"] != "close" {
		t.Errorf("after the break: %v", e)
	}
}

func TestThePageIsToldWhenTheAppComesAndGoes(t *testing.T) {
	w, api, base := open(t, office())
	page := listen(t, base, ann, "0")
	_, address, err := api.StartSocketModeContext(t.Context())
	check(t, err)
	conn, _, err := websocket.DefaultDialer.Dial(address, nil)
	check(t, err)
	defer conn.Close()
	if _, e := page.next(t, "app"); e["connected"] != true || e["via"] != "socket" {
		t.Errorf("the page is told %v", e)
	}
	w.Disconnect("")
	if _, e := page.next(t, "app"); e["connected"] != false {
		t.Errorf("the page is told %v", e)
	}
}

func TestBrowserRequestsAreRefusedWithWords(t *testing.T) {
	_, _, base := open(t, office())
	for body, want := range map[string]string{
		`/client/message {`: "bad_request",
		`/client/message {"user":"U1","channel":"C99","text":"x"}`:                          "not_found",
		`/client/message {"user":"U1","channel":"C4","text":"x"}`:                           "refused",
		`/client/command {"user":"U1","channel":"C1","command":"/nope"}`:                    "not_found",
		`/client/command {"user":"U1","channel":"C1","command":"/help","thread_ts":"1.2"}`:  "refused",
		`/client/action {"user":"U1","container":{"type":"view","view_id":"V9"}}`:           "not_found",
		`/client/submit {"user":"U1","view_id":"V9"}`:                                       "not_found",
		`/client/close {"user":"U1","view_id":"V9"}`:                                        "not_found",
		`/client/shortcut {"user":"U1","callback_id":"nope"}`:                               "not_found",
		`/client/open_home {"user":"U9"}`:                                                   "not_found",
		`/client/open_dm {"user":"U1","other":"U9"}`:                                        "not_found",
		`/client/read {"user":"U1","channel":"C1","ts":"x"}`:                                "bad_request",
		`/client/reaction {"user":"U1","channel":"C1","ts":"1.2","name":"eyes","add":true}`: "refused",
		`/client/join {"user":"U1","channel":"D9"}`:                                         "not_found",
	} {
		path, body, _ := strings.Cut(body, " ")
		status, got := send(t, base+path, body)
		if status < 400 || got["ok"] != false || got["error"] != want || got["message"] == "" {
			t.Errorf("%s %s: %d %v, want %s", path, body, status, got, want)
		}
	}
	req := must(http.NewRequest("POST", base+"/client/message", strings.NewReader(`{"user":"U1","channel":"C1","text":"x"}`)))
	req.Header.Set("Origin", "https://elsewhere.example")
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	res, err := http.DefaultClient.Do(req)
	check(t, err)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("a post from elsewhere: %s", res.Status)
	}
}

func TestClosingEndsStreamsSocketsAndHangingCalls(t *testing.T) {
	cfg := office()
	cfg.Fault = func(method string, _ int) sandbox.Fault {
		if method == "users.list" {
			return sandbox.Fault{Kind: sandbox.Hang}
		}
		return sandbox.Fault{}
	}
	w, api, base := open(t, cfg)
	page := listen(t, base, ann, "")
	(&helper{api: api}).run(t, w)
	hung := make(chan error, 1)
	go func() { _, err := api.GetUsers(); hung <- err }()
	must(w.Say(ann, ops, "", "x"))
	page.next(t, "message")
	w.Close()
	for page.Scan() {
	}
	if <-hung == nil {
		t.Error("the hanging call succeeded")
	}
	res, err := http.Get(base + "/client/state")
	check(t, err)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("after Close: %s", res.Status)
	}
}
