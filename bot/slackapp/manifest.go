package slackapp

// What the app's manifest has to say; a test holds deploy/slack-manifest.*.yaml
// against these.
const (
	CommandName     = "/rehome"
	MessageShortcut = "triage_with_rehome" // callback id of "Triage with Rehome"
	GlobalShortcut  = "start_rehome"       // callback id of "Start a rehoming"
)

// Scopes are the bot scopes we need, and for what.
var Scopes = map[string]string{
	"app_mentions:read": "to be mentioned",
	"channels:history":  "to hear replies in the threads of public channels we are in",
	"channels:read":     "to know which public channels we are in",
	"chat:write":        "to post, edit and answer",
	"commands":          "/rehome and the shortcuts",
	"groups:history":    "to hear replies in the threads of private channels we are in",
	"groups:read":       "to know which private channels we are in",
	"im:history":        "to hear what people write to us",
	"im:write":          "to find the direct message with somebody, and look there for what may have been sent",
	"users:read":        "to know who must not be told (guests, apps, who left), and people's time zones",
	"users:read.email":  "to find the owners of apps by the mail address the directory has",
}

// Events are the bot events we listen to.
var Events = []string{
	"app_home_opened", "app_mention", "app_uninstalled", "channel_left", "group_left", "member_joined_channel", "member_left_channel",
	"message.channels", "message.groups", "message.im", "tokens_revoked",
}
