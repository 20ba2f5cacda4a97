package slackapp

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"
)

// readManifest reads an app manifest of deploy. A field that Slack's schema, as
// slack-go has it, does not know is an error.
func readManifest(t *testing.T, name string) slack.Manifest {
	t.Helper()
	raw, err := os.ReadFile("../../deploy/" + name)
	check(t, err)
	var m slack.Manifest
	check(t, yaml.UnmarshalWithOptions(raw, &m, yaml.Strict()))
	return m
}

func TestTheManifestsGiveTheCodeWhatItNeeds(t *testing.T) {
	for _, name := range []string{"slack-manifest.socket.yaml", "slack-manifest.http.yaml"} {
		t.Run(name, func(t *testing.T) {
			m := readManifest(t, name)
			if diff := cmp.Diff(slices.Sorted(maps.Keys(Scopes)), slices.Sorted(slices.Values(m.OAuthConfig.Scopes.Bot))); diff != "" {
				t.Errorf("scopes (-code +manifest):\n%s", diff)
			}
			if diff := cmp.Diff(Events, m.Settings.EventSubscriptions.BotEvents); diff != "" {
				t.Errorf("events (-code +manifest):\n%s", diff)
			}
			if c := m.Features.SlashCommands; len(c) != 1 || c[0].Command != CommandName || !c[0].ShouldEscape {
				t.Errorf("commands %+v", c)
			}
			shortcuts := map[string]string{}
			for _, s := range m.Features.Shortcuts {
				shortcuts[s.CallbackID] = string(s.Type)
			}
			if diff := cmp.Diff(map[string]string{MessageShortcut: "message", GlobalShortcut: "global"}, shortcuts); diff != "" {
				t.Errorf("shortcuts (-code +manifest):\n%s", diff)
			}
			if !m.Settings.Interactivity.IsEnabled || !m.Features.AppHome.HomeTabEnabled || !m.Features.AppHome.MessagesTabEnabled || m.Features.AppHome.MessagesTabReadOnlyEnabled {
				t.Error("buttons, the Home tab, or writing to the bot are off")
			}
			holdsToLimits(t, m)
		})
	}
}

// holdsToLimits checks the lengths of Slack's manifest schema.
func holdsToLimits(t *testing.T, m slack.Manifest) {
	t.Helper()
	length := func(what, s string, least, most int) {
		if n := utf8.RuneCountInString(s); n < least || n > most {
			t.Errorf("%s has %d characters; Slack takes %d to %d", what, n, least, most)
		}
	}
	length("the name", m.Display.Name, 1, 35)
	length("the description", m.Display.Description, 0, 140)
	length("the long description", m.Display.LongDescription, 175, 4000)
	length("the bot's name", m.Features.BotUser.DisplayName, 1, 80)
	for _, c := range m.Features.SlashCommands {
		length(c.Command, c.Command, 2, 32)
		length("its description", c.Description, 1, 2000)
		length("its hint", c.UsageHint, 0, 1000)
	}
	for _, s := range m.Features.Shortcuts {
		length("the name of "+s.CallbackID, s.Name, 1, 24)
		length("the description of "+s.CallbackID, s.Description, 1, 150)
		length(s.CallbackID, s.CallbackID, 1, 255)
	}
}

func TestTheTwoManifestsAreOneAppBehindTwoDoors(t *testing.T) {
	socket, http := readManifest(t, "slack-manifest.socket.yaml"), readManifest(t, "slack-manifest.http.yaml")
	if !socket.Settings.SocketModeEnabled || http.Settings.SocketModeEnabled {
		t.Error("Socket Mode belongs in the one and not in the other")
	}
	for what, address := range map[string]string{
		"/slack/commands": http.Features.SlashCommands[0].Url, "/slack/events": http.Settings.EventSubscriptions.RequestUrl, "/slack/interactions": http.Settings.Interactivity.RequestUrl,
	} {
		if !strings.HasPrefix(address, "https://") || !strings.HasSuffix(address, what) {
			t.Errorf("%s goes to %q", what, address)
		}
	}
	http.Settings.SocketModeEnabled = true
	http.Features.SlashCommands[0].Url, http.Settings.EventSubscriptions.RequestUrl, http.Settings.Interactivity.RequestUrl = "", "", ""
	if diff := cmp.Diff(socket, http); diff != "" {
		t.Errorf("they differ (-socket +http):\n%s", diff)
	}
}
