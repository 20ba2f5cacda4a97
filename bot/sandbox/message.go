package sandbox

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// Message is a message as Slack shows it to clients, with what tests like to ask about it.
type Message struct {
	Type            string          `json:"type"` // always "message"
	Subtype         string          `json:"subtype,omitempty"`
	Channel         string          `json:"channel,omitempty"`
	TS              string          `json:"ts"`
	User            string          `json:"user,omitempty"`
	BotID           string          `json:"bot_id,omitempty"`
	AppID           string          `json:"app_id,omitempty"`
	Team            string          `json:"team,omitempty"`
	Username        string          `json:"username,omitempty"`
	ClientMsgID     string          `json:"client_msg_id,omitempty"`
	Text            string          `json:"text"`
	Blocks          json.RawMessage `json:"blocks,omitempty"`
	Attachments     json.RawMessage `json:"attachments,omitempty"`
	ThreadTS        string          `json:"thread_ts,omitempty"`
	ParentUser      string          `json:"parent_user_id,omitempty"`
	Edited          *Edited         `json:"edited,omitempty"`
	ReplyCount      int             `json:"reply_count,omitempty"`
	ReplyUsersCount int             `json:"reply_users_count,omitempty"`
	ReplyUsers      []string        `json:"reply_users,omitempty"`
	LatestReply     string          `json:"latest_reply,omitempty"`
	Metadata        *Metadata       `json:"metadata,omitempty"`
	Reactions       []Reaction      `json:"reactions,omitempty"`
	IsEphemeral     bool            `json:"is_ephemeral,omitempty"`

	// Mentions is whom the message notifies: user ids, subteam ids, and "!channel", "!here",
	// "!everyone". It is read from the text, mrkdwn objects and rich text, as Slack does.
	Mentions []string `json:"-"`

	to           string // an ephemeral's only reader
	url          string // the response_url an ephemeral was made by
	visibleAfter int64  // microseconds; a fault keeps the message out of history until then
}

// Edited says who changed a message last, and when.
type Edited struct {
	User string `json:"user"`
	TS   string `json:"ts"`
}

// Metadata is what an app attached to its message for machines.
type Metadata struct {
	EventType    string          `json:"event_type"`
	EventPayload json.RawMessage `json:"event_payload"`
}

// Reaction is one emoji on a message.
type Reaction struct {
	Name  string   `json:"name"`
	Users []string `json:"users"`
	Count int      `json:"count"`
}

// Button is a button in a message or view, wherever it stands.
type Button struct {
	Label, BlockID, ActionID, Value, Style, URL string
}

// Select is a menu, an overflow, radio buttons or checkboxes in a message or view.
type Select struct {
	Type              string // static_select, overflow, radio_buttons …
	Label             string // the placeholder, or the label of the input block
	BlockID, ActionID string
	Options           []Option
	InitialLabels     []string // what is chosen before anybody chooses
	raw               map[string]any
}

// Option is one choice of a Select.
type Option struct {
	Label, Value string
}

// Input is a field of a modal.
type Input struct {
	Type, Label, BlockID, ActionID string
	Optional                       bool
}

// Buttons lists the message's buttons from top to bottom.
func (m Message) Buttons() []Button { return buttons(parseBlocks(m.Blocks)) }

// Selects lists the message's choices from top to bottom.
func (m Message) Selects() []Select { return selects(parseBlocks(m.Blocks)) }

// BlockTexts lists every text that a person reads in the blocks, in order.
func (m Message) BlockTexts() []string { return blockTexts(parseBlocks(m.Blocks)) }

// Button finds a button by action id, value or label; see [Workspace.Click].
func (m Message) Button(which string) (Button, bool) {
	found, err := pickButton(m.Buttons(), which)
	return found, err == nil
}

// View is a modal or a Home tab.
type View struct {
	ID              string          `json:"id"`
	TeamID          string          `json:"team_id"`
	Type            string          `json:"type"`
	Title           json.RawMessage `json:"title,omitempty"`
	Submit          json.RawMessage `json:"submit"`
	Close           json.RawMessage `json:"close"`
	Blocks          json.RawMessage `json:"blocks"`
	PrivateMetadata string          `json:"private_metadata"`
	CallbackID      string          `json:"callback_id"`
	ExternalID      string          `json:"external_id"`
	State           ViewState       `json:"state"`
	Hash            string          `json:"hash"`
	ClearOnClose    bool            `json:"clear_on_close"`
	NotifyOnClose   bool            `json:"notify_on_close"`
	SubmitDisabled  bool            `json:"submit_disabled,omitempty"`
	RootViewID      string          `json:"root_view_id"`
	PreviousViewID  *string         `json:"previous_view_id"`
	AppID           string          `json:"app_id"`
	InstalledTeam   string          `json:"app_installed_team_id"`
	BotID           string          `json:"bot_id"`

	// Errors is what the app last found wrong with the fields, by block id.
	Errors map[string]string `json:"-"`

	owner string
}

// ViewState holds the fields of a view or message: block id, action id, value object.
type ViewState struct {
	Values map[string]map[string]map[string]any `json:"values"`
}

// TitleText is the modal's title.
func (v View) TitleText() string {
	var t struct{ Text string }
	_ = json.Unmarshal(v.Title, &t) // a view without a title has an empty one
	return t.Text
}

// Buttons lists the view's buttons from top to bottom.
func (v View) Buttons() []Button { return buttons(parseBlocks(v.Blocks)) }

// Selects lists the view's choices from top to bottom, those of input blocks included.
func (v View) Selects() []Select { return selects(parseBlocks(v.Blocks)) }

// Inputs lists the fields a submission would carry.
func (v View) Inputs() []Input { return inputs(parseBlocks(v.Blocks)) }

// BlockTexts lists every text that a person reads in the view, in order.
func (v View) BlockTexts() []string { return blockTexts(parseBlocks(v.Blocks)) }

func parseBlocks(raw json.RawMessage) []map[string]any {
	var blocks []map[string]any
	_ = json.Unmarshal(raw, &blocks) // absent blocks are none; stored ones have been validated
	return blocks
}

// eachElement visits the interactive elements of blocks with the block they are in.
func eachElement(blocks []map[string]any, visit func(block, element map[string]any)) {
	for _, b := range blocks {
		if e, ok := b["accessory"].(map[string]any); ok {
			visit(b, e)
		}
		if e, ok := b["element"].(map[string]any); ok {
			visit(b, e)
		}
		if b["type"] != "actions" && b["type"] != "context_actions" {
			continue
		}
		for _, e := range objects(b["elements"]) {
			visit(b, e)
		}
	}
}

func buttons(blocks []map[string]any) []Button {
	var out []Button
	eachElement(blocks, func(b, e map[string]any) {
		if t := str(e["type"]); t == "button" || t == "workflow_button" || t == "icon_button" {
			out = append(out, Button{Label: textOf(e["text"]), BlockID: str(b["block_id"]), ActionID: str(e["action_id"]),
				Value: str(e["value"]), Style: str(e["style"]), URL: str(e["url"])})
		}
	})
	return out
}

func selects(blocks []map[string]any) []Select {
	var out []Select
	eachElement(blocks, func(b, e map[string]any) {
		kind := str(e["type"])
		if !strings.HasSuffix(kind, "_select") && kind != "overflow" && kind != "radio_buttons" && kind != "checkboxes" {
			return
		}
		s := Select{Type: kind, Label: textOf(e["placeholder"]), BlockID: str(b["block_id"]), ActionID: str(e["action_id"]), raw: e}
		if label := textOf(b["label"]); label != "" {
			s.Label = label
		}
		for _, o := range optionsOf(e) {
			s.Options = append(s.Options, Option{Label: textOf(o["text"]), Value: str(o["value"])})
		}
		if o, ok := e["initial_option"].(map[string]any); ok {
			s.InitialLabels = append(s.InitialLabels, textOf(o["text"]))
		}
		for _, o := range objects(e["initial_options"]) {
			s.InitialLabels = append(s.InitialLabels, textOf(o["text"]))
		}
		out = append(out, s)
	})
	return out
}

func inputs(blocks []map[string]any) []Input {
	var out []Input
	for _, b := range blocks {
		if e, ok := b["element"].(map[string]any); ok && b["type"] == "input" {
			optional, _ := b["optional"].(bool)
			out = append(out, Input{Type: str(e["type"]), Label: textOf(b["label"]), BlockID: str(b["block_id"]),
				ActionID: str(e["action_id"]), Optional: optional})
		}
	}
	return out
}

func optionsOf(e map[string]any) []map[string]any {
	out := objects(e["options"])
	for _, g := range objects(e["option_groups"]) {
		out = append(out, objects(g["options"])...)
	}
	return out
}

func blockTexts(blocks []map[string]any) []string {
	var out []string
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, x := range v {
				walk(x)
			}
		case map[string]any:
			if t, ok := v["text"].(string); ok {
				out = append(out, t)
			}
			for _, k := range []string{"title", "label", "text", "fields", "accessory", "element", "elements", "rows", "placeholder", "options", "hint"} {
				if _, leaf := v[k].(string); !leaf {
					walk(v[k])
				}
			}
		}
	}
	for _, b := range blocks {
		walk(b)
	}
	return out
}

// fallbackText is what Slack shows in notifications when an app sends blocks without text.
func fallbackText(blocks []map[string]any) string {
	return strings.Join(blockTexts(blocks), " ")
}

var mention = regexp.MustCompile(`<([@!][^<>]*)>`)

// mentionsIn reads whom a message notifies. Only real control sequences count: escaped ones
// (&lt;!channel&gt;) and plain_text objects notify nobody.
func mentionsIn(text string, blocks []map[string]any) []string {
	var out []string
	add := func(who string) {
		if who != "" && !slices.Contains(out, who) {
			out = append(out, who)
		}
	}
	scan := func(s string) {
		for _, hit := range mention.FindAllStringSubmatch(s, -1) {
			target, _, _ := strings.Cut(hit[1], "|")
			switch {
			case strings.HasPrefix(target, "@"):
				add(target[1:])
			case target == "!channel" || target == "!here" || target == "!everyone" || target == "!group":
				add(target)
			case strings.HasPrefix(target, "!subteam^"):
				add(strings.TrimPrefix(target, "!subteam^"))
			}
		}
	}
	scan(text)
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, x := range v {
				walk(x)
			}
		case map[string]any:
			switch v["type"] {
			case "mrkdwn", "markdown":
				scan(str(v["text"]))
			case "user":
				add(str(v["user_id"]))
			case "usergroup":
				add(str(v["usergroup_id"]))
			case "broadcast":
				add("!" + str(v["range"]))
			}
			for _, x := range v {
				walk(x)
			}
		}
	}
	for _, b := range blocks {
		walk(b)
	}
	slices.Sort(out)
	return out
}

// str, textOf and objects read loosely typed JSON: a value of another kind is an absent one.
func str(v any) string { s, _ := v.(string); return s }

func textOf(v any) string {
	o, _ := v.(map[string]any)
	return str(o["text"])
}

func objects(v any) []map[string]any {
	list, _ := v.([]any)
	out := make([]map[string]any, 0, len(list))
	for _, x := range list {
		if o, ok := x.(map[string]any); ok {
			out = append(out, o)
		}
	}
	return out
}

func mustJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil { // unreachable: everything marshalled here is made of maps, strings, numbers and JSON that was parsed
		return json.RawMessage("null")
	}
	return b
}
