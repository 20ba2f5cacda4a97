package sandbox_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/slack-go/slack"

	"rehome/bot/sandbox"
)

// call posts a form to a method and returns Slack's answer.
func call(t *testing.T, base, method string, form url.Values) map[string]any {
	t.Helper()
	if form == nil {
		form = url.Values{}
	}
	if !form.Has("token") {
		form.Set("token", botToken)
	}
	return answer(t, must(http.NewRequest("POST", base+"/api/"+method, strings.NewReader(form.Encode()))), "application/x-www-form-urlencoded")
}

func answer(t *testing.T, req *http.Request, kind string) map[string]any {
	t.Helper()
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	res, err := http.DefaultClient.Do(req)
	check(t, err)
	defer res.Body.Close()
	if got := res.Header.Get("Content-Type"); !strings.HasPrefix(got, "application/json") {
		t.Errorf("%s answered with content type %q", req.URL.Path, got)
	}
	var out map[string]any
	check(t, json.NewDecoder(res.Body).Decode(&out))
	if out["ok"] == false && out["error"] == nil {
		t.Errorf("%s refused without an error", req.URL.Path)
	}
	return out
}

func TestTheWebAPIRefusesWithSlacksOwnCodes(t *testing.T) {
	w, _, base := open(t, office())
	root, err := w.Say(ann, ops, "", "hello")
	check(t, err)
	reply := must(w.Say(bob, ops, root, "hi"))
	many := func(n int, s string) string { return strings.Repeat(s, n) }
	blocks := func(n int) string { return "[" + strings.TrimSuffix(many(n, `{"type":"divider"},`), ",") + "]" }

	for _, c := range []struct {
		name, method string
		form         url.Values
		want         string
	}{
		{"a method Slack does not have", "chat.sing", nil, "unknown_method"},
		{"no token", "auth.test", url.Values{"token": {""}}, "not_authed"},
		{"a wrong token", "auth.test", url.Values{"token": {"xoxb-other"}}, "invalid_auth"},
		{"the app's token for a bot's method", "auth.test", url.Values{"token": {appToken}}, "not_allowed_token_type"},
		{"nowhere", "chat.postMessage", url.Values{"text": {"x"}}, "channel_not_found"},
		{"an unknown channel", "chat.postMessage", url.Values{"channel": {"C99"}, "text": {"x"}}, "channel_not_found"},
		{"a channel the bot is not in", "chat.postMessage", url.Values{"channel": {lobby}, "text": {"x"}}, "not_in_channel"},
		{"an archived channel", "chat.postMessage", url.Values{"channel": {old}, "text": {"x"}}, "is_archived"},
		{"nothing to say", "chat.postMessage", url.Values{"channel": {ops}}, "no_text"},
		{"blocks that are no JSON", "chat.postMessage", url.Values{"channel": {ops}, "blocks": {"[{"}}, "invalid_blocks_format"},
		{"blocks that are no list", "chat.postMessage", url.Values{"channel": {ops}, "blocks": {"{}"}}, "invalid_blocks_format"},
		{"51 blocks", "chat.postMessage", url.Values{"channel": {ops}, "blocks": {blocks(51)}}, "invalid_blocks"},
		{"too much text in blocks", "chat.postMessage", url.Values{"channel": {ops}, "blocks": {"[" + strings.TrimSuffix(many(5, `{"type":"section","text":{"type":"mrkdwn","text":"`+many(3000, "x")+`"}},`), ",") + "]"}}, "msg_blocks_too_long"},
		{"a thread that is none", "chat.postMessage", url.Values{"channel": {ops}, "text": {"x"}, "thread_ts": {"1.000001"}}, "thread_not_found"},
		{"a reply's own timestamp as thread", "chat.postMessage", url.Values{"channel": {ops}, "text": {"x"}, "thread_ts": {reply}}, "thread_not_found"},
		{"a thread_ts that is no timestamp", "chat.postMessage", url.Values{"channel": {ops}, "text": {"x"}, "thread_ts": {"yesterday"}}, "invalid_thread_ts"},
		{"metadata without a type", "chat.postMessage", url.Values{"channel": {ops}, "text": {"x"}, "metadata": {`{"event_payload":{}}`}}, "invalid_metadata_format"},
		{"metadata with a list of strings", "chat.postMessage", url.Values{"channel": {ops}, "text": {"x"}, "metadata": {`{"event_type":"a","event_payload":{"x":["y"]}}`}}, "invalid_metadata_schema"},
		{"much metadata", "chat.postMessage", url.Values{"channel": {ops}, "text": {"x"}, "metadata": {`{"event_type":"a","event_payload":{"x":"` + many(9000, "y") + `"}}`}}, "metadata_too_large"},
		{"101 attachments", "chat.postMessage", url.Values{"channel": {ops}, "attachments": {"[" + strings.TrimSuffix(many(101, "{},"), ",") + "]"}}, "too_many_attachments"},
		{"markdown beside text", "chat.postMessage", url.Values{"channel": {ops}, "text": {"x"}, "markdown_text": {"y"}}, "markdown_text_conflict"},
		{"a message that is not there", "chat.update", url.Values{"channel": {ops}, "ts": {"1.000001"}, "text": {"x"}}, "message_not_found"},
		{"somebody else's message", "chat.update", url.Values{"channel": {ops}, "ts": {root}, "text": {"x"}}, "cant_update_message"},
		{"somebody else's message to delete", "chat.delete", url.Values{"channel": {ops}, "ts": {root}}, "cant_delete_message"},
		{"an ephemeral for an outsider", "chat.postEphemeral", url.Values{"channel": {ops}, "user": {gus}, "text": {"x"}}, "user_not_in_channel"},
		{"an ephemeral where the bot is not", "chat.postEphemeral", url.Values{"channel": {lobby}, "user": {ann}, "text": {"x"}}, "not_in_channel"},
		{"a conversation with nobody", "conversations.open", nil, "users_list_not_supplied"},
		{"a conversation with a stranger", "conversations.open", url.Values{"users": {"U99"}}, "user_not_found"},
		{"history of elsewhere", "conversations.history", url.Values{"channel": {lobby}}, "not_in_channel"},
		{"history since nonsense", "conversations.history", url.Values{"channel": {ops}, "oldest": {"x"}}, "invalid_ts_oldest"},
		{"a made-up cursor", "conversations.history", url.Values{"channel": {ops}, "cursor": {"x"}}, "invalid_cursor"},
		{"replies to nothing", "conversations.replies", url.Values{"channel": {ops}, "ts": {"1.000001"}}, "thread_not_found"},
		{"a stranger", "users.info", url.Values{"user": {"U99"}}, "user_not_found"},
		{"an address nobody has", "users.lookupByEmail", url.Values{"email": {"x@contoso.example"}}, "users_not_found"},
		{"joining a direct message", "conversations.join", url.Values{"channel": {w.DM(ann)}}, "method_not_supported_for_channel_type"},
		{"a reaction to nothing", "reactions.add", url.Values{"channel": {ops}, "timestamp": {"1.000001"}, "name": {"eyes"}}, "message_not_found"},
		{"a made-up trigger", "views.open", url.Values{"trigger_id": {"1.2.3"}, "view": {`{"type":"modal","title":{"type":"plain_text","text":"x"},"blocks":[]}`}}, "invalid_trigger_id"},
		{"no view", "views.open", url.Values{"trigger_id": {"1.2.3"}}, "invalid_arguments"},
		{"a home in a modal's place", "views.open", url.Values{"trigger_id": {"1.2.3"}, "view": {`{"type":"home","blocks":[]}`}}, "invalid_arguments"},
		{"a view that is gone", "views.update", url.Values{"view_id": {"V1"}, "view": {`{"type":"home","blocks":[]}`}}, "not_found"},
		{"a home for nobody", "views.publish", url.Values{"user_id": {"U99"}, "view": {`{"type":"home","blocks":[]}`}}, "invalid_arguments"},
		{"a permalink to nothing", "chat.getPermalink", url.Values{"channel": {ops}, "message_ts": {"1.000001"}}, "message_not_found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := call(t, base, c.method, c.form); got["error"] != c.want {
				t.Errorf("%s answered %v, Slack says %s", c.method, got, c.want)
			}
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestAMissingScopeIsNamed(t *testing.T) {
	cfg := office()
	cfg.App.Scopes = []string{"commands", "channels:read"}
	_, api, base := open(t, cfg)
	_, _, err := api.PostMessage(ops, slack.MsgOptionText("x", false))
	var refused slack.SlackErrorResponse
	if !errors.As(err, &refused) || refused.Err != "missing_scope" || refused.Needed != "chat:write" || refused.Provided != "commands,channels:read" {
		t.Errorf("got %#v", err)
	}
	for method, needed := range map[string]string{"conversations.history": "channels:history", "users.info": "users:read", "reactions.add": "reactions:write"} {
		if got := call(t, base, method, url.Values{"channel": {ops}}); got["needed"] != needed {
			t.Errorf("%s answered %v", method, got)
		}
	}
}

func TestArgumentsArriveInEveryForm(t *testing.T) {
	w, _, base := open(t, office())
	bearer := func(r *http.Request) *http.Request {
		r.Header.Set("Authorization", "Bearer "+botToken)
		return r
	}
	var multi bytes.Buffer
	form := multipart.NewWriter(&multi)
	check(t, errors.Join(form.WriteField("channel", ops), form.WriteField("text", "multipart"), form.WriteField("token", botToken), form.Close()))
	for _, c := range []struct {
		kind string
		req  *http.Request
	}{
		{"application/json; charset=utf-8", bearer(must(http.NewRequest("POST", base+"/api/chat.postMessage", strings.NewReader(`{"channel":"C1","text":"json","blocks":[{"type":"divider"}]}`))))},
		{form.FormDataContentType(), must(http.NewRequest("POST", base+"/api/chat.postMessage", &multi))},
		{"", must(http.NewRequest("GET", base+"/api/chat.postMessage?channel=C1&text=get&token="+botToken, nil))},
		{"application/x-www-form-urlencoded", bearer(must(http.NewRequest("POST", base+"/api/chat.postMessage", strings.NewReader("channel=C1&text=form"))))},
	} {
		if got := answer(t, c.req, c.kind); got["ok"] != true {
			t.Errorf("%s: %v", c.kind, got)
		}
	}
	var texts []string
	for _, m := range w.Messages(ops) {
		texts = append(texts, m.Text)
	}
	if want := []string{"json", "multipart", "get", "form"}; !slices.Equal(texts, want) {
		t.Errorf("got %q", texts)
	}
	for body, want := range map[string]string{"{": "invalid_json", "[]": "json_not_object", `{"token":"` + botToken + `"}`: "not_authed", "": "not_authed"} {
		if got := answer(t, must(http.NewRequest("POST", base+"/api/auth.test", strings.NewReader(body))), "application/json"); got["error"] != want {
			t.Errorf("%q answered %v, want %s", body, got, want)
		}
	}
	if got := answer(t, must(http.NewRequest("POST", base+"/api/auth.test", strings.NewReader("x"))), "text/csv"); got["error"] != "invalid_post_type" {
		t.Errorf("got %v", got)
	}
	if got := answer(t, bearer(must(http.NewRequest("POST", base+"/api/chat.postMessage", strings.NewReader(strings.Repeat("x", 2<<20))))), "application/x-www-form-urlencoded"); got["error"] != "invalid_form_data" {
		t.Errorf("two megabytes were answered %v", got)
	}
	for _, c := range w.Calls() {
		if _, leaked := c.Args["token"]; leaked {
			t.Errorf("the log of calls keeps the token: %v", c)
		}
	}
}

func TestTextHasSlacksLengths(t *testing.T) {
	w, api, _ := open(t, office())
	_, ts, err := api.PostMessage(ops, slack.MsgOptionText(strings.Repeat("é", 40_001), false))
	check(t, err)
	if got := len([]rune(w.Messages(ops)[0].Text)); got != 40_000 {
		t.Errorf("the long post has %d characters", got)
	}
	if _, _, _, err := api.UpdateMessage(ops, ts, slack.MsgOptionText(strings.Repeat("é", 4_001), false)); err == nil || err.Error() != "msg_too_long" {
		t.Errorf("the long update was answered %v", err)
	}
	_, _, _, err = api.UpdateMessage(ops, ts, slack.MsgOptionText(strings.Repeat("é", 4_000), false))
	check(t, err)
}

func TestAMessageToAPersonOpensTheirDirectMessages(t *testing.T) {
	w, api, _ := open(t, office())
	channel, ts, err := api.PostMessage(ann, slack.MsgOptionText("psst", false))
	check(t, err)
	c, _, _, err := api.OpenConversation(&slack.OpenConversationParameters{Users: []string{ann}})
	check(t, err)
	if channel != c.ID || channel != w.DM(ann) || channel[0] != 'D' {
		t.Errorf("posted to %s, opened %s", channel, c.ID)
	}
	if m, ok := w.Message(channel, ts); !ok || m.Text != "psst" {
		t.Errorf("the message is not there: %s", w.Transcript())
	}
}

func TestHistoryAndRepliesPageThroughAThreadWithMetadata(t *testing.T) {
	w, api, _ := open(t, office())
	_, root, err := api.PostMessage(ops, slack.MsgOptionText("root", false), slack.MsgOptionMetadata(slack.SlackMetadata{EventType: "op", EventPayload: map[string]any{"id": "7"}}))
	check(t, err)
	for i := range 5 {
		_, _, err := api.PostMessage(ops, slack.MsgOptionText(fmt.Sprint("reply ", i), false), slack.MsgOptionTS(root))
		check(t, err)
	}
	must(w.Say(bob, ops, "", "later"))

	var texts []string
	p := &slack.GetConversationRepliesParameters{ChannelID: ops, Timestamp: root, Limit: 2, IncludeAllMetadata: true}
	for {
		part, more, next, err := api.GetConversationReplies(p)
		check(t, err)
		for _, m := range part {
			texts = append(texts, m.Text)
		}
		if len(texts) == 2 && part[0].Metadata.EventPayload["id"] != "7" {
			t.Errorf("no metadata on %+v", part[0])
		}
		if !more {
			break
		}
		p.Cursor = next
	}
	if want := []string{"root", "reply 0", "reply 1", "reply 2", "reply 3", "reply 4"}; !slices.Equal(texts, want) {
		t.Errorf("replies %q", texts)
	}

	h, err := api.GetConversationHistory(&slack.GetConversationHistoryParameters{ChannelID: ops})
	check(t, err)
	if len(h.Messages) != 2 || h.Messages[0].Text != "later" || h.Messages[1].ReplyCount != 5 || h.Messages[1].Metadata.EventType != "" {
		t.Errorf("history %+v", h.Messages)
	}
	h, err = api.GetConversationHistory(&slack.GetConversationHistoryParameters{ChannelID: ops, Oldest: root, Inclusive: false})
	check(t, err)
	if len(h.Messages) != 1 {
		t.Errorf("history after the root %+v", h.Messages)
	}
}

func TestUpdatingKeepsMetadataAndDropsBlocks(t *testing.T) {
	w, api, _ := open(t, office())
	_, ts, err := api.PostMessage(ops, slack.MsgOptionBlocks(slack.NewSectionBlock(slack.NewTextBlockObject("mrkdwn", "*one* <!here>", false, false), nil, nil)),
		slack.MsgOptionMetadata(slack.SlackMetadata{EventType: "op", EventPayload: map[string]any{"id": "7"}}))
	check(t, err)
	m, _ := w.Message(ops, ts)
	if m.Text != "*one* <!here>" || !slices.Equal(m.Mentions, []string{"!here"}) {
		t.Errorf("posted %+v", m)
	}
	_, _, _, err = api.UpdateMessage(ops, ts, slack.MsgOptionText("two", false))
	check(t, err)
	m, _ = w.Message(ops, ts)
	if m.Text != "two" || m.Blocks != nil || m.Metadata == nil || m.Edited == nil || m.Mentions != nil {
		t.Errorf("updated %+v", m)
	}
}

func TestADeletedRootLeavesItsThread(t *testing.T) {
	w, api, _ := open(t, office())
	_, root, err := api.PostMessage(ops, slack.MsgOptionText("root", false))
	check(t, err)
	must(w.Say(bob, ops, root, "reply"))
	_, _, err = api.DeleteMessage(ops, root)
	check(t, err)
	if thread := w.Thread(ops, root); len(thread) != 2 || thread[0].Subtype != "tombstone" || thread[1].Text != "reply" {
		t.Errorf("the thread is %+v", thread)
	}
	if _, _, _, err := api.UpdateMessage(ops, root, slack.MsgOptionText("x", false)); err == nil || err.Error() != "message_not_found" {
		t.Errorf("updating it was answered %v", err)
	}
}

func TestMentionsCountOnlyWhereSlackNotifies(t *testing.T) {
	w, api, _ := open(t, office())
	for text, want := range map[string][]string{
		"plain":                                nil,
		"<@U1> and <@U2|bob>, <@U1> again":     {ann, bob},
		"<!channel>":                           {"!channel"},
		"<!subteam^S1|crew>":                   {"S1"},
		"&lt;!channel&gt; &lt;@U1&gt;":         nil,
		"<https://contoso.example|@ann> <#C1>": nil,
	} {
		_, ts, err := api.PostMessage(ops, slack.MsgOptionText(text, false))
		check(t, err)
		if m, _ := w.Message(ops, ts); !slices.Equal(m.Mentions, want) {
			t.Errorf("%q mentions %v, want %v", text, m.Mentions, want)
		}
	}
	_, ts, err := api.PostMessage(ops, slack.MsgOptionText("x", false), slack.MsgOptionBlocks(
		slack.NewHeaderBlock(slack.NewTextBlockObject("plain_text", "<!channel>", false, false)),
		slack.NewRichTextBlock("", slack.NewRichTextSection(slack.NewRichTextSectionUserElement(bob, nil), slack.NewRichTextSectionTextElement("<!here>", nil)))))
	check(t, err)
	if m, _ := w.Message(ops, ts); !slices.Equal(m.Mentions, []string{bob}) {
		t.Errorf("the blocks mention %v", m.Mentions)
	}
}

func TestPeopleAndChannelsAreDescribedAsSlackDoes(t *testing.T) {
	_, api, base := open(t, office())
	u, err := api.GetUserByEmail("ANN@contoso.example")
	check(t, err)
	if u.ID != ann || u.Profile.Email != "ann@contoso.example" || u.TZ != "Europe/Berlin" || u.IsRestricted {
		t.Errorf("user %+v", u)
	}
	all, err := api.GetUsers()
	check(t, err)
	if len(all) != 4 {
		t.Errorf("%d users", len(all))
	}
	me, err := api.AuthTest()
	check(t, err)
	if me.UserID != "UBOT" || me.BotID == "" || me.URL != base+"/" {
		t.Errorf("auth.test %+v", me)
	}
	list, _, err := api.GetConversations(&slack.GetConversationsParameters{Types: []string{"public_channel", "private_channel"}, ExcludeArchived: true})
	check(t, err)
	if len(list) != 3 || !list[0].IsMember || list[1].ID != secops || !list[1].IsPrivate {
		t.Errorf("channels %+v", list)
	}
	c, _, _, err := api.JoinConversation(lobby)
	check(t, err)
	if !c.IsMember {
		t.Error("joined, and not a member")
	}
	check(t, api.AddReaction("eyes", slack.NewRefToMessage(lobby, lastTS(t, api, lobby))))
	if err := api.AddReaction("eyes", slack.NewRefToMessage(lobby, lastTS(t, api, lobby))); err == nil || err.Error() != "already_reacted" {
		t.Errorf("the second reaction was answered %v", err)
	}
	link, err := api.GetPermalink(&slack.PermalinkParameters{Channel: lobby, Ts: lastTS(t, api, lobby)})
	check(t, err)
	res, err := http.Get(link)
	check(t, err)
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	if res.StatusCode != 200 || res.Request.URL.Query().Get("channel") != lobby {
		t.Errorf("the permalink leads to %s", res.Request.URL)
	}
}

func lastTS(t *testing.T, api *slack.Client, channel string) string {
	t.Helper()
	h, err := api.GetConversationHistory(&slack.GetConversationHistoryParameters{ChannelID: channel, Limit: 1})
	check(t, err)
	return h.Messages[0].Timestamp
}

func TestAWrongConfigurationIsSaid(t *testing.T) {
	for want, spoil := range map[string]func(*sandbox.Config){
		"used twice":       func(c *sandbox.Config) { c.Users = append(c.Users, c.Users[0]) },
		"not among Users":  func(c *sandbox.Config) { c.Channels[0].Members = []string{"U99"} },
		"needs a BotToken": func(c *sandbox.Config) { c.App.BotToken = "" },
		"channel id C1 is": func(c *sandbox.Config) { c.Channels[1].ID = ops },
		"an ID and a Name": func(c *sandbox.Config) { c.Users[0].Name = "" },
		"a SigningSecret": func(c *sandbox.Config) {
			c.App.SocketMode, c.App.SigningSecret, c.App.EventsURL = false, "", "http://127.0.0.1/"
		},
		"an AppToken for S": func(c *sandbox.Config) { c.App.AppToken = "" },
	} {
		cfg := office()
		spoil(&cfg)
		if _, err := sandbox.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}
