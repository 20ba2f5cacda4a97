package slackapp

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/slack-go/slack"

	"rehome/conversation"
	"rehome/policy"
)

// The form behind a bare /rehome. Only the violation must be given; whatever
// else is known saves a question.
const (
	formCallback  = "rehome_start"
	formViolation = "violation"
	formAppID     = "app_id"
	formAppName   = "app_name"
	formVault     = "vault"
	formParty     = "party"
	formTenant    = "tenant"
	formCloud     = "cloud"
	formFirst     = formViolation // where an error stands that concerns the whole form
	formAction    = "v"           // the one element of each block
)

// A form is what has to be remembered between opening the form and its submission.
// It travels in the view's private_metadata, which Slack sends back. It holds no
// secret.
type form struct {
	Place conversation.Place `json:"place"`
	Empty bool               `json:"-"` // nothing was recognised in the message it was opened on
}

// startForm opens the form. The trigger is good for three seconds, so this waits for
// nothing. refused answers when the form could not be opened.
func (d *Doors) startForm(ctx context.Context, trigger string, f form, refused func(*page) answer) answer {
	if trigger == "" {
		return refused(helpPage(""))
	}
	key := "form:" + brief(trigger)
	if !d.recent.first(key) {
		return answer{} // delivered again: a trigger opens one form, and that is open
	}
	resp, err := d.Chat.api.OpenViewContext(ctx, trigger, d.formView(f))
	if err == nil && resp.ID == "" {
		err = errNoTS
	}
	if err != nil {
		d.recent.forget(key)
		d.Log.Warn("the form could not be opened", "code", failure(err, asking).Code)
		p := say("I could not open the form just now. Try again, or write what you know after ", code("/rehome"), ":")
		p.say(helpTopics[""]...)
		return refused(p)
	}
	return answer{}
}

func (d *Doors) formView(f form) slack.ModalViewRequest {
	meta, _ := json.Marshal(f) // two ids
	view := slack.ModalViewRequest{
		Type: slack.VTModal, CallbackID: formCallback, PrivateMetadata: string(meta),
		Title: plainText("Start with Rehome", 24), Submit: plainText("Start", 24), Close: plainText("Cancel", 24),
	}
	add := func(b slack.Block) { view.Blocks.BlockSet = append(view.Blocks.BlockSet, b) }
	intro := "Tell me what you know. What you leave out I infer, or ask for."
	if f.Empty {
		intro = "I recognised nothing in that message. " + intro
	}
	add(slack.NewSectionBlock(mrkdwn(string(words(intro))), nil, nil, slack.SectionBlockOptionBlockID("intro")))
	add(selectInput(formViolation, "Violation", "Which finding is it?", false, d.violations()))
	add(textInput(formAppID, "App id", "00000000-0000-0000-0000-000000000000", "The application (client) id, a GUID"))
	add(textInput(formAppName, "App name", "", ""))
	add(textInput(formVault, "Vault", "https://contoso-kv.vault.azure.net", "Where the certificate is now"))
	add(selectInput(formParty, "Party", "First or third party?", true, values(string(policy.FirstParty), string(policy.ThirdParty))))
	add(selectInput(formTenant, "Tenant", "The app's, or for 1P the security group owner's", true, values(d.tenants()...)))
	add(selectInput(formCloud, "Cloud", "The app's cloud", true, values(string(policy.Public), string(policy.Mooncake), string(policy.Fairfax))))
	return view
}

// violations are the titles offered, as options.
func (d *Doors) violations() []*slack.OptionBlockObject {
	var out []*slack.OptionBlockObject
	for _, t := range d.Bot.Policy.Titles() {
		if !t.Offered {
			continue
		}
		o := slack.NewOptionBlockObject(t.Text, plainText(t.Text, maxLabel), nil)
		if t.Hint != "" {
			o.Description = plainText(t.Hint, maxLabel)
		}
		out = append(out, o)
	}
	return out
}

// tenants are the names the policy tables know.
func (d *Doors) tenants() []string {
	var out []string
	for _, r := range d.Bot.Policy.Rows(policy.ThirdParty) {
		out = append(out, keysOf(r)...)
	}
	return out
}

func values(vs ...string) []*slack.OptionBlockObject {
	var out []*slack.OptionBlockObject
	for _, v := range vs {
		out = append(out, slack.NewOptionBlockObject(v, plainText(v, maxLabel), nil))
	}
	return out
}

func selectInput(id, name, placeholder string, optional bool, options []*slack.OptionBlockObject) slack.Block {
	in := slack.NewInputBlock(id, plainText(name, 2000), nil, slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, plainText(placeholder, 150), formAction, options...))
	in.Optional = optional
	return in
}

const maxTyped = 300 // characters in a text field

func textInput(id, name, placeholder, hint string) slack.Block {
	element := slack.NewPlainTextInputBlockElement(nil, formAction)
	if placeholder != "" {
		element.Placeholder = plainText(placeholder, 150)
	}
	element.MaxLength = maxTyped
	in := slack.NewInputBlock(id, plainText(name, 2000), nil, element)
	if hint != "" {
		in.Hint = plainText(hint, 2000)
	}
	in.Optional = true
	return in
}

// submit opens a conversation from a sent form, or says what is wrong with
// which field.
func (d *Doors) submit(ctx context.Context, i interaction) answer {
	var f form
	if json.Unmarshal([]byte(i.View.Private), &f) != nil || f.Place.Channel == "" {
		f.Place = conversation.Place{Channel: i.User.ID}
	}
	facts, wrong := d.readForm(i.View)
	if len(wrong) > 0 {
		return answer{ack: formErrors(wrong)}
	}
	r := request{key: "sub:" + brief(i.View.ID) + ":" + digest(i.View.Hash), user: i.User.ID, place: f.Place}
	o, err := d.open(ctx, r, facts, nil)
	if err != nil {
		return answer{err: err}
	}
	if o.place.IsDirect() {
		// Whoever started from a channel or the Home tab does not see the direct
		// message: the form says where to look.
		return answer{ack: closing(o.page())}
	}
	return answer{after: d.saying(d.Chat.whispering(i.User.ID, r.key, conversation.Place{Channel: o.place.Channel}, o.place.Anchor, o.page()))}
}

// readForm makes facts of the fields. All but the app's name go through the
// policy, which takes what may be a secret out of an address (a user, a query, a
// fragment: a link with a SAS token is easily pasted) before anybody keeps it.
func (d *Doors) readForm(v view) (policy.Facts, map[string]string) {
	const how = "given in the form"
	wrong := map[string]string{}
	given := policy.Violation{Source: policy.ViolationFrom{System: "slack"}}
	var facts policy.Facts
	say := func(name policy.FactName, value string) {
		facts = facts.With(policy.Fact{Name: name, Value: value, From: policy.FromAnswer, Why: how})
	}
	canonical := func(block string, name policy.FactName, stated, otherwise string) string {
		if stated == "" {
			return ""
		}
		value, err := d.Bot.Policy.Canonical(name, stated)
		if err != nil { // its words repeat what was stated, and are not for here
			wrong[block] = otherwise
			return ""
		}
		say(name, value)
		return value
	}
	choice := func(block string, name policy.FactName) {
		canonical(block, name, picked(v, block), "That is not one of the values I know. Please choose from the list.")
	}
	if picked(v, formViolation) == "" {
		wrong[formViolation] = "Please choose the violation: everything else follows from it."
	}
	choice(formViolation, policy.Violated)
	choice(formParty, policy.PartyFact)
	choice(formCloud, policy.AppCloud)
	tenant := policy.AppTenant
	if picked(v, formParty) == string(policy.FirstParty) {
		tenant = policy.SGOwner
	}
	choice(formTenant, tenant)
	canonical(formAppID, policy.AppID, written(v, formAppID),
		"That is not an app id. It looks like 00000000-0000-0000-0000-000000000000; you find it under App registrations.")
	name := cut(clean(written(v, formAppName)), maxTyped)
	if _, secrets := policy.Scrub(name); len(secrets) > 0 {
		wrong[formAppName] = "That looks like " + secrets[0] + ", and nothing of it is kept. Treat it as exposed, replace it, and give the app's name alone."
	}
	say(policy.AppName, name)
	given.Cred.Store.URI = canonical(formVault, policy.VaultURI, written(v, formVault),
		"That is not an address. It looks like https://contoso-kv.vault.azure.net.")
	// What follows from the vault's address is the policy's to say.
	return d.Bot.Policy.Infer(given).Without(policy.FoundBy, policy.FromAlert).Without(policy.VaultURI, policy.FromAlert).With(facts...), wrong
}

// picked is what was chosen in a block, written what was typed. Each has one element.
func picked(v view, block string) string { return v.State.Values[block][formAction].Selected.Value }

func written(v view, block string) string {
	return strings.TrimSpace(v.State.Values[block][formAction].Value)
}

type viewReply struct {
	Action string            `json:"response_action"`
	Errors map[string]string `json:"errors,omitempty"`
	View   any               `json:"view,omitempty"`
}

// formErrors keeps the form open and says what is wrong beside each field.
func formErrors(errors map[string]string) viewReply {
	return viewReply{Action: "errors", Errors: errors}
}

// closing replaces the form by what came of it.
func closing(p *page) viewReply {
	p.stamp("started")
	return viewReply{Action: "update", View: slack.ModalViewRequest{
		Type: slack.VTModal, Title: plainText("Started", 24), Close: plainText("Close", 24), Blocks: slack.Blocks{BlockSet: p.blocks},
	}}
}
