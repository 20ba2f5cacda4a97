package sandbox_test

import (
	"context"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"go.uber.org/goleak"

	"rehome/bot/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	botToken = "xoxb-test"
	appToken = "xapp-test"
	secret   = "8f742231b10e8888abcd99yyyzzz85a5"

	ann, bob, gus = "U1", "U2", "U3" // gus is a guest
	ops, secops   = "C1", "C2"       // secops is private
	lobby         = "C3"             // the bot is not in it
	old           = "C4"             // archived
)

// office is the workspace the tests play in.
func office() sandbox.Config {
	return sandbox.Config{
		Name: "Contoso",
		Users: []sandbox.User{
			{ID: ann, Name: "ann", RealName: "Ann Bell", Email: "ann@contoso.example", TZ: "Europe/Berlin", Title: "Security"},
			{ID: bob, Name: "bob", RealName: "Bob Carr", Email: "bob@contoso.example"},
			{ID: gus, Name: "gus", RealName: "Gus Dorn", Guest: true},
		},
		Channels: []sandbox.Channel{
			{ID: ops, Name: "ops", BotMember: true},
			{ID: secops, Name: "secops", Private: true, Members: []string{ann}, BotMember: true},
			{ID: lobby, Name: "lobby"},
			{ID: old, Name: "old", Archived: true, BotMember: true},
		},
		App: sandbox.App{
			Name: "helper", BotUserID: "UBOT", BotToken: botToken, AppToken: appToken, SigningSecret: secret, SocketMode: true,
			Commands:  []sandbox.Command{{Name: "/help", UsageHint: "[topic]"}},
			Shortcuts: []sandbox.Shortcut{{CallbackID: "look", Name: "Look at it", Type: "message"}, {CallbackID: "start", Name: "Start", Type: "global"}},
			Scopes: []string{"chat:write", "commands", "im:write", "im:read", "im:history", "channels:read", "channels:history", "channels:join", "groups:read", "groups:history",
				"app_mentions:read", "users:read", "users:read.email", "users.profile:read", "reactions:write", "reactions:read", "team:read"},
			Events: []string{"app_mention", "message.channels", "message.groups", "message.im", "app_home_opened", "member_joined_channel", "reaction_added"},
		},
	}
}

// open starts a workspace on a loopback address with a client of it.
func open(t *testing.T, cfg sandbox.Config) (*sandbox.Workspace, *slack.Client, string) {
	t.Helper()
	w, err := sandbox.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(w)
	t.Cleanup(func() {
		w.Close()
		srv.Close()
	})
	api := slack.New(botToken, slack.OptionAPIURL(srv.URL+"/api/"), slack.OptionAppLevelToken(appToken))
	return w, api, srv.URL
}

// soon is a context for what must happen in a moment; it only ends tests that would never end.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
