package slackapp

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"

	"rehome/bot"
	"rehome/policy"
)

// This file is about deliveries of Slack's that we cannot read. They are kept in
// the same quarantine as records that are no alert, so that somebody can see what
// they were. They are kept without what lets one act in Slack (response_urls,
// triggers, tokens), and without key material that somebody may have pasted into a
// message.

// keepAside puts a payload in quarantine. When it is delivered again it is the same
// record. An error means that it could not be written down.
func (d *Doors) keepAside(ctx context.Context, door, kind string, raw []byte) error {
	kind = cut(clean(kind), 40)
	d.Log.Warn("a delivery cannot be read and is kept aside; see rehome list --quarantined", "door", door, "type", kind, "bytes", len(raw))
	body, err := json.Marshal(map[string]any{"slack": scrubbed(raw)})
	if err != nil {
		return nil //nolint:nilerr // unreachable: made of JSON and strings
	}
	_, err = d.Bot.TakeIn(ctx, bot.Batch{Quarantine: []bot.Quarantined{{
		At: d.Bot.Now(), Source: "slack " + door + " " + orElse(kind, "frame"), Why: "not a delivery that rehome can read", Body: body,
	}}})
	if err != nil {
		d.Log.Error("a delivery could not be kept aside", "err", err)
	}
	return err
}

// maxAside is how much is kept of one delivery.
const maxAside = 64 << 10

// scrubbed returns a payload as it is kept: JSON when it is some, else text.
func scrubbed(raw []byte) any {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return scrubText(string(raw))
	}
	v = scrubValue("", v, 0)
	if b, err := json.Marshal(v); err != nil || len(b) > maxAside {
		return scrubText(string(b)) // cut; what is left of it may be read by eye
	}
	return v
}

const leftOut = "[left out]"

// doorOpeners are members of Slack's payloads that let whoever has them act.
var doorOpeners = map[string]bool{
	"token": true, "response_url": true, "response_urls": true, "trigger_id": true, "bot_access_token": true, "access_token": true,
	"url_private": true, "url_private_download": true, "workflow_step_edit_id": true,
}

func scrubValue(name string, v any, depth int) any {
	name = strings.ToLower(name)
	switch {
	case depth > 50, doorOpeners[name]:
		return leftOut
	case keyMember.MatchString(name):
		return leftOut
	}
	switch v := v.(type) {
	case string:
		return scrubText(v)
	case []any:
		for i := range v {
			v[i] = scrubValue("", v[i], depth+1)
		}
	case map[string]any:
		for k := range v {
			v[k] = scrubValue(k, v[k], depth+1)
		}
	}
	return v
}

// Beside what policy.Scrub finds, these are taken out: members that hold secrets
// (keyMember), words that look like Slack's tokens and addresses (keyLooks), and
// values after a name that secrets have, however short they are (keyNamed).
var (
	keyMember = regexp.MustCompile(`^(client_?secret|secret_?(text|value)|password|passphrase|private_?key|pfx(blob)?|pkcs12|connection_?string|account_?key|api_?key)$`)
	keyLooks  = []*regexp.Regexp{
		regexp.MustCompile(`\bx(?:ox[a-z]|app)-[A-Za-z0-9-]{6,}`),
		regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_.-]+`),
		regexp.MustCompile(`https://hooks\.slack(-gov)?\.com/\S+`),
	}
	keyNamed = regexp.MustCompile(`(?i)\b((?:client_?secret|secret_?text|secret_?value|password|passphrase|private_?key|connection_?string|account_?key|accesskey|sig)"?\s*[=:]\s*"?)[^\s",;&]+`)
)

func scrubText(s string) string {
	s, _ = policy.Scrub(s)
	for _, looks := range keyLooks {
		s = looks.ReplaceAllString(s, leftOut)
	}
	s = keyNamed.ReplaceAllString(s, "${1}"+leftOut)
	if len(s) > maxAside {
		s = strings.ToValidUTF8(s[:maxAside], "") + " [cut here]"
	}
	return s
}
