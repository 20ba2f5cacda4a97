package sandbox

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// x is n characters of text, in JSON strings below written as «n».
func x(n int) string { return strings.Repeat("é", n) }

// expand writes blocks down briefly: «n» is n characters, and n×{…} is n objects in a list, where #
// is the number of each.
func expand(s string) string {
	for {
		start := strings.Index(s, "«")
		if start < 0 {
			break
		}
		end := strings.Index(s, "»")
		var n int
		_, _ = fmt.Sscan(s[start+len("«"):end], &n)
		s = s[:start] + x(n) + s[end+len("»"):]
	}
	for {
		at := strings.Index(s, "×")
		if at < 0 {
			return s
		}
		start := strings.LastIndexAny(s[:at], "[ ,") + 1
		var n int
		_, _ = fmt.Sscan(s[start:at], &n)
		depth, end := 0, at+len("×")
		for ; end < len(s); end++ {
			switch s[end] {
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			if depth == 0 {
				break
			}
		}
		one := s[at+len("×") : end+1]
		var all []string
		for i := range n {
			all = append(all, strings.ReplaceAll(one, "#", fmt.Sprint(i)))
		}
		s = s[:start] + strings.Join(all, ",") + s[end+1:]
	}
}

const (
	plain   = `{"type":"plain_text","text":"x"}`
	option1 = `{"text":{"type":"plain_text","text":"x"},"value":"v"}`
)

func actionsOf(elements string) string { return `{"type":"actions","elements":[` + elements + `]}` }
func sectionWith(accessory string) string {
	return `{"type":"section","text":{"type":"mrkdwn","text":"x"},"accessory":` + accessory + `}`
}
func input(element string) string {
	return `{"type":"input","label":` + plain + `,"element":` + element + `}`
}
func button(fields string) string { return `{"type":"button","text":` + plain + fields + `}` }
func menu(fields string) string {
	return `{"type":"static_select","options":[` + option1 + `]` + fields + `}`
}

// Each row: blocks that are just right, blocks that are just wrong, and what is said about them. An
// empty side is not tried. Limits are those of reference documentation, not of this package.
var blockRules = []struct {
	name, right, wrong, problem string
}{
	{"section text", `{"type":"section","text":{"type":"mrkdwn","text":"«3000»"}}`, `{"type":"section","text":{"type":"mrkdwn","text":"«3001»"}}`, "must be less than 3001 characters [json-pointer:/blocks/0/text/text]"},
	{"section text is not empty", "", `{"type":"section","text":{"type":"mrkdwn","text":""}}`, "must be more than 0 characters [json-pointer:/blocks/0/text/text]"},
	{"section without text", "", `{"type":"section"}`, "missing required field: text [json-pointer:/blocks/0]"},
	{"section fields", `{"type":"section","fields":[10×{"type":"mrkdwn","text":"x"}]}`, `{"type":"section","fields":[11×{"type":"mrkdwn","text":"x"}]}`, "no more than 10 items allowed [json-pointer:/blocks/0/fields]"},
	{"section field length", `{"type":"section","fields":[{"type":"mrkdwn","text":"«2000»"}]}`, `{"type":"section","fields":[{"type":"mrkdwn","text":"«2001»"}]}`, "must be less than 2001 characters [json-pointer:/blocks/0/fields/0/text]"},
	{"text type", "", `{"type":"section","text":{"type":"markdown","text":"x"}}`, "unsupported type: markdown [json-pointer:/blocks/0/text/type]"},
	{"emoji belongs to plain text", `{"type":"section","text":{"type":"plain_text","text":"x","emoji":true}}`, `{"type":"section","text":{"type":"mrkdwn","text":"x","emoji":true}}`, "invalid additional property: emoji [json-pointer:/blocks/0/text]"},
	{"verbatim belongs to mrkdwn", `{"type":"section","text":{"type":"mrkdwn","text":"x","verbatim":true}}`, `{"type":"section","text":{"type":"plain_text","text":"x","verbatim":true}}`, "invalid additional property: verbatim [json-pointer:/blocks/0/text]"},
	{"text as a string", "", `{"type":"section","text":"x"}`, "must provide an object [json-pointer:/blocks/0/text]"},
	{"unknown block", "", `{"type":"selection"}`, "unsupported type: selection [json-pointer:/blocks/0/type]"},
	{"block without type", "", `{}`, "unsupported type: none [json-pointer:/blocks/0/type]"},
	{"block that is no object", "", `7`, "must provide an object [json-pointer:/blocks/0]"},
	{"unknown field", "", `{"type":"divider","text":"x"}`, "invalid additional property: text [json-pointer:/blocks/0]"},
	{"block_id", `{"type":"divider","block_id":"«255»"}`, `{"type":"divider","block_id":"«256»"}`, "must be less than 256 characters [json-pointer:/blocks/0/block_id]"},
	{"block_id is unique", `{"type":"divider","block_id":"a"},{"type":"divider","block_id":"b"}`, `{"type":"divider","block_id":"a"},{"type":"divider","block_id":"a"}`, "block_id already exists: a [json-pointer:/blocks/1/block_id]"},
	{"blocks of a message", `50×{"type":"divider"}`, `51×{"type":"divider"}`, "no more than 50 items allowed [json-pointer:/blocks]"},
	{"header", `{"type":"header","text":{"type":"plain_text","text":"«150»"}}`, `{"type":"header","text":{"type":"plain_text","text":"«151»"}}`, "must be less than 151 characters [json-pointer:/blocks/0/text/text]"},
	{"header is plain", "", `{"type":"header","text":{"type":"mrkdwn","text":"x"}}`, "unsupported type: mrkdwn [json-pointer:/blocks/0/text/type]"},
	{"context", `{"type":"context","elements":[10×{"type":"mrkdwn","text":"x"}]}`, `{"type":"context","elements":[11×{"type":"mrkdwn","text":"x"}]}`, "no more than 10 items allowed [json-pointer:/blocks/0/elements]"},
	{"context holds text and images", `{"type":"context","elements":[{"type":"image","image_url":"https://contoso.example/a.png","alt_text":"x"}]}`, `{"type":"context","elements":[` + button("") + `]}`, "unsupported type: button [json-pointer:/blocks/0/elements/0/type]"},
	{"context is not empty", "", `{"type":"context","elements":[]}`, "no less than 1 items required [json-pointer:/blocks/0/elements]"},
	{"image", `{"type":"image","image_url":"https://contoso.example/a.png","alt_text":"x"}`, `{"type":"image","image_url":"https://contoso.example/a.png"}`, "missing required field: alt_text [json-pointer:/blocks/0]"},
	{"image has a source", "", `{"type":"image","alt_text":"x"}`, "must provide exactly one of image_url and slack_file [json-pointer:/blocks/0]"},
	{"image url", "", `{"type":"image","image_url":"a.png","alt_text":"x"}`, "must be a valid url [json-pointer:/blocks/0/image_url]"},
	{"actions", actionsOf(`25×{"type":"button","text":{"type":"plain_text","text":"x"},"action_id":"a#"}`), actionsOf(`26×{"type":"button","text":{"type":"plain_text","text":"x"},"action_id":"a#"}`), "no more than 25 items allowed [json-pointer:/blocks/0/elements]"},
	{"actions hold no image", "", actionsOf(`{"type":"image","image_url":"https://contoso.example/a.png","alt_text":"x"}`), "unsupported type: image [json-pointer:/blocks/0/elements/0/type]"},
	{"actions hold no input", "", actionsOf(`{"type":"plain_text_input"}`), "unsupported type: plain_text_input [json-pointer:/blocks/0/elements/0/type]"},
	{"action_id is unique in its block", actionsOf(button(`,"action_id":"a"`)) + "," + actionsOf(button(`,"action_id":"a"`)), actionsOf(button(`,"action_id":"a"`) + "," + button(`,"action_id":"a"`)), "action_id already exists: a [json-pointer:/blocks/0/elements/1/action_id]"},
	{"action_id", actionsOf(button(`,"action_id":"«255»"`)), actionsOf(button(`,"action_id":"«256»"`)), "must be less than 256 characters [json-pointer:/blocks/0/elements/0/action_id]"},
	{"button text", actionsOf(`{"type":"button","text":{"type":"plain_text","text":"«75»"}}`), actionsOf(`{"type":"button","text":{"type":"plain_text","text":"«76»"}}`), "must be less than 76 characters [json-pointer:/blocks/0/elements/0/text/text]"},
	{"button text is plain", "", actionsOf(`{"type":"button","text":{"type":"mrkdwn","text":"x"}}`), "unsupported type: mrkdwn [json-pointer:/blocks/0/elements/0/text/type]"},
	{"button value", actionsOf(button(`,"value":"«2000»"`)), actionsOf(button(`,"value":"«2001»"`)), "must be less than 2001 characters [json-pointer:/blocks/0/elements/0/value]"},
	{"button url", actionsOf(button(`,"url":"https://contoso.example/«2976»"`)), actionsOf(button(`,"url":"https://contoso.example/«2977»"`)), "must be less than 3001 characters [json-pointer:/blocks/0/elements/0/url]"},
	{"button style", actionsOf(button(`,"style":"danger"`)), actionsOf(button(`,"style":"default"`)), "must be a valid enum value: primary, danger [json-pointer:/blocks/0/elements/0/style]"},
	{"button label for readers", actionsOf(button(`,"accessibility_label":"«75»"`)), actionsOf(button(`,"accessibility_label":"«76»"`)), "must be less than 76 characters [json-pointer:/blocks/0/elements/0/accessibility_label]"},
	{"confirm title", confirm(100, 1, 1, 1), confirm(101, 1, 1, 1), "must be less than 101 characters [json-pointer:/blocks/0/elements/0/confirm/title/text]"},
	{"confirm text", confirm(1, 300, 1, 1), confirm(1, 301, 1, 1), "must be less than 301 characters [json-pointer:/blocks/0/elements/0/confirm/text/text]"},
	{"confirm yes", confirm(1, 1, 30, 1), confirm(1, 1, 31, 1), "must be less than 31 characters [json-pointer:/blocks/0/elements/0/confirm/confirm/text]"},
	{"confirm no", confirm(1, 1, 1, 30), confirm(1, 1, 1, 31), "must be less than 31 characters [json-pointer:/blocks/0/elements/0/confirm/deny/text]"},
	{"options", actionsOf(`{"type":"static_select","options":[100×` + option1 + `]}`), actionsOf(`{"type":"static_select","options":[101×` + option1 + `]}`), "no more than 100 items allowed [json-pointer:/blocks/0/elements/0/options]"},
	{"a menu has options", "", actionsOf(`{"type":"static_select"}`), "must provide exactly one of options and option_groups [json-pointer:/blocks/0/elements/0]"},
	{"option text", sectionWith(`{"type":"static_select","options":[{"text":{"type":"plain_text","text":"«75»"},"value":"v"}]}`), sectionWith(`{"type":"static_select","options":[{"text":{"type":"plain_text","text":"«76»"},"value":"v"}]}`), "must be less than 76 characters [json-pointer:/blocks/0/accessory/options/0/text/text]"},
	{"option text in menus is plain", "", sectionWith(`{"type":"static_select","options":[{"text":{"type":"mrkdwn","text":"x"},"value":"v"}]}`), "unsupported type: mrkdwn [json-pointer:/blocks/0/accessory/options/0/text/type]"},
	{"option text in checkboxes may be mrkdwn", sectionWith(`{"type":"checkboxes","options":[{"text":{"type":"mrkdwn","text":"x"},"value":"v"}]}`), "", ""},
	{"option value", sectionWith(`{"type":"static_select","options":[{"text":` + plain + `,"value":"«75»"}]}`), sectionWith(`{"type":"static_select","options":[{"text":` + plain + `,"value":"«76»"}]}`), "must be less than 76 characters [json-pointer:/blocks/0/accessory/options/0/value]"},
	{"option groups", sectionWith(`{"type":"static_select","option_groups":[100×{"label":` + plain + `,"options":[` + option1 + `]}]}`), sectionWith(`{"type":"static_select","option_groups":[101×{"label":` + plain + `,"options":[` + option1 + `]}]}`), "no more than 100 items allowed [json-pointer:/blocks/0/accessory/option_groups]"},
	{"group label", "", sectionWith(`{"type":"static_select","option_groups":[{"label":{"type":"plain_text","text":"«76»"},"options":[` + option1 + `]}]}`), "must be less than 76 characters [json-pointer:/blocks/0/accessory/option_groups/0/label/text]"},
	{"initial option is one of them", sectionWith(menu(`,"initial_option":` + option1)), sectionWith(menu(`,"initial_option":{"text":` + plain + `,"value":"w"}`)), "initial option must be one of the options provided [json-pointer:/blocks/0/accessory]"},
	{"placeholder", sectionWith(menu(`,"placeholder":{"type":"plain_text","text":"«150»"}`)), sectionWith(menu(`,"placeholder":{"type":"plain_text","text":"«151»"}`)), "must be less than 151 characters [json-pointer:/blocks/0/accessory/placeholder/text]"},
	{"overflow", sectionWith(`{"type":"overflow","options":[5×` + option1 + `]}`), sectionWith(`{"type":"overflow","options":[6×` + option1 + `]}`), "no more than 5 items allowed [json-pointer:/blocks/0/accessory/options]"},
	{"overflow options link", sectionWith(`{"type":"overflow","options":[{"text":` + plain + `,"value":"v","url":"https://contoso.example"}]}`), sectionWith(`{"type":"overflow","options":[{"text":` + plain + `,"value":"v","url":"contoso"}]}`), "must be a valid url [json-pointer:/blocks/0/accessory/options/0/url]"},
	{"checkboxes", sectionWith(`{"type":"checkboxes","options":[10×` + option1 + `]}`), sectionWith(`{"type":"checkboxes","options":[11×` + option1 + `]}`), "no more than 10 items allowed [json-pointer:/blocks/0/accessory/options]"},
	{"radio buttons", sectionWith(`{"type":"radio_buttons","options":[10×` + option1 + `]}`), sectionWith(`{"type":"radio_buttons","options":[11×` + option1 + `]}`), "no more than 10 items allowed [json-pointer:/blocks/0/accessory/options]"},
	{"dates", sectionWith(`{"type":"datepicker","initial_date":"2026-02-28"}`), sectionWith(`{"type":"datepicker","initial_date":"2026-02-29"}`), "must be formatted as YYYY-MM-DD [json-pointer:/blocks/0/accessory/initial_date]"},
	{"times", sectionWith(`{"type":"timepicker","initial_time":"09:30"}`), sectionWith(`{"type":"timepicker","initial_time":"9:30"}`), "must be formatted as HH:mm [json-pointer:/blocks/0/accessory/initial_time]"},
	{"input label", `{"type":"input","label":{"type":"plain_text","text":"«2000»"},"element":{"type":"plain_text_input"}}`, `{"type":"input","label":{"type":"plain_text","text":"«2001»"},"element":{"type":"plain_text_input"}}`, "must be less than 2001 characters [json-pointer:/blocks/0/label/text]"},
	{"input holds fields", input(`{"type":"number_input","is_decimal_allowed":false}`), input(button("")), "unsupported type: button [json-pointer:/blocks/0/element/type]"},
	{"input text length", input(`{"type":"plain_text_input","max_length":3000}`), input(`{"type":"plain_text_input","max_length":3001}`), "must be less than or equal to 3000 [json-pointer:/blocks/0/element/max_length]"},
	{"response_url_enabled is for modals", "", input(`{"type":"conversations_select","response_url_enabled":true}`), "response_url_enabled is only allowed in input blocks of modals [json-pointer:/blocks/0/element/response_url_enabled]"},
	{"markdown", `{"type":"markdown","text":"«12000»"}`, `{"type":"markdown","text":"«12001»"}`, "must be less than 12001 characters [json-pointer:/blocks/0/text]"},
	{"markdown in all", `{"type":"markdown","text":"«6000»"},{"type":"markdown","text":"«6000»"}`, `{"type":"markdown","text":"«6000»"},{"type":"markdown","text":"«6001»"}`, "must be less than 12001 characters in all markdown blocks [json-pointer:/blocks/1/text]"},
	{"table rows", `{"type":"table","rows":[100×[{"type":"raw_text","text":"x"}]]}`, `{"type":"table","rows":[101×[{"type":"raw_text","text":"x"}]]}`, "no more than 100 items allowed [json-pointer:/blocks/0/rows]"},
	{"table cells", `{"type":"table","rows":[[20×{"type":"raw_text","text":"x"}]]}`, `{"type":"table","rows":[[21×{"type":"raw_text","text":"x"}]]}`, "no more than 20 items allowed [json-pointer:/blocks/0/rows/0]"},
	{"one table", `{"type":"table","rows":[[{"type":"raw_text","text":"x"}]]}`, `2×{"type":"table","rows":[[{"type":"raw_text","text":"x"}]]}`, "only_one_table_allowed [json-pointer:/blocks/1]"},
	{"table text", `{"type":"table","rows":[[{"type":"raw_text","text":"«10000»"}]]}`, `{"type":"table","rows":[[{"type":"raw_text","text":"«10001»"}]]}`, "must be less than 10001 characters [json-pointer:/blocks/0/rows]"},
	{"rich text", `{"type":"rich_text","elements":[{"type":"rich_text_list","style":"bullet","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":"x","style":{"bold":true}},{"type":"user","user_id":"U1"}]}]}]}`,
		`{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"mrkdwn","text":"x"}]}]}`, "unsupported type: mrkdwn [json-pointer:/blocks/0/elements/0/elements/0/type]"},
	{"rich text list holds sections", "", `{"type":"rich_text","elements":[{"type":"rich_text_list","style":"bullet","elements":[{"type":"text","text":"x"}]}]}`, "unsupported type: text [json-pointer:/blocks/0/elements/0/elements/0/type]"},
	{"alerts are for modals", "", `{"type":"alert","text":` + plain + `}`, "unsupported type: alert [json-pointer:/blocks/0/type]"},
}

func confirm(title, text, yes, no int) string {
	part := func(n int) string { return fmt.Sprintf(`{"type":"plain_text","text":"«%d»"}`, n) }
	return actionsOf(button(`,"confirm":{"title":` + part(title) + `,"text":` + part(text) + `,"confirm":` + part(yes) + `,"deny":` + part(no) + `}`))
}

func parse(t *testing.T, s string) []any {
	t.Helper()
	v, err := decodeJSON([]byte(expand("[" + s + "]")))
	if err != nil {
		t.Fatalf("the test's own blocks are no JSON: %v\n%.300s", err, expand(s))
	}
	return v.([]any)
}

func TestBlocksAreHeldToSlacksLimits(t *testing.T) {
	for _, r := range blockRules {
		t.Run(r.name, func(t *testing.T) {
			if r.right != "" {
				if p := checkBlocks(parse(t, r.right), onMessage, true); len(p) > 0 {
					t.Errorf("what is right is refused: %q", p)
				}
			}
			if r.wrong != "" {
				if p := checkBlocks(parse(t, r.wrong), onMessage, true); len(p) != 1 || p[0] != r.problem {
					t.Errorf("said %q, want %q", p, r.problem)
				}
			}
		})
	}
}

func TestForeignClientsMayUseLongerOptionValues(t *testing.T) {
	long := func(n int) []any {
		return parse(t, fmt.Sprintf(sectionWith(`{"type":"static_select","options":[{"text":`+plain+`,"value":"«%d»"}]}`), n))
	}
	if p := checkBlocks(long(150), onMessage, false); len(p) > 0 {
		t.Errorf("150 characters: %q", p)
	}
	if p := checkBlocks(long(151), onMessage, false); len(p) != 1 {
		t.Errorf("151 characters: %q", p)
	}
}

var viewRules = []struct {
	name, want, right, wrong, problem string
}{
	{"title", "modal", modal(`"title":{"type":"plain_text","text":"«24»"},"blocks":[]`), modal(`"title":{"type":"plain_text","text":"«25»"},"blocks":[]`), "must be less than 25 characters [json-pointer:/view/title/text]"},
	{"a modal has a title", "modal", "", modal(`"blocks":[]`), "missing required field: title [json-pointer:/view]"},
	{"submit", "modal", modal(`"title":` + plain + `,"blocks":[],"submit":{"type":"plain_text","text":"«24»"}`), modal(`"title":` + plain + `,"blocks":[],"submit":{"type":"plain_text","text":"«25»"}`), "must be less than 25 characters [json-pointer:/view/submit/text]"},
	{"close", "modal", modal(`"title":` + plain + `,"blocks":[],"close":{"type":"plain_text","text":"«24»"}`), modal(`"title":` + plain + `,"blocks":[],"close":{"type":"plain_text","text":"«25»"}`), "must be less than 25 characters [json-pointer:/view/close/text]"},
	{"private_metadata", "modal", modal(`"title":` + plain + `,"blocks":[],"private_metadata":"«3000»"`), modal(`"title":` + plain + `,"blocks":[],"private_metadata":"«3001»"`), "must be less than 3001 characters [json-pointer:/view/private_metadata]"},
	{"callback_id", "modal", modal(`"title":` + plain + `,"blocks":[],"callback_id":"«255»"`), modal(`"title":` + plain + `,"blocks":[],"callback_id":"«256»"`), "must be less than 256 characters [json-pointer:/view/callback_id]"},
	{"external_id", "modal", modal(`"title":` + plain + `,"blocks":[],"external_id":"«255»"`), modal(`"title":` + plain + `,"blocks":[],"external_id":"«256»"`), "must be less than 256 characters [json-pointer:/view/external_id]"},
	{"an input needs submit", "modal", modal(`"title":` + plain + `,"submit":` + plain + `,"blocks":[` + input(`{"type":"plain_text_input"}`) + `]`), modal(`"title":` + plain + `,"blocks":[` + input(`{"type":"plain_text_input"}`) + `]`), "missing required field: submit [json-pointer:/view]"},
	{"blocks of a modal", "modal", modal(`"title":` + plain + `,"blocks":[100×{"type":"divider"}]`), modal(`"title":` + plain + `,"blocks":[101×{"type":"divider"}]`), "no more than 100 items allowed [json-pointer:/view/blocks]"},
	{"blocks of a home", "home", `{"type":"home","blocks":[100×{"type":"divider"}]}`, `{"type":"home","blocks":[101×{"type":"divider"}]}`, "no more than 100 items allowed [json-pointer:/view/blocks]"},
	{"no markdown in modals", "modal", "", modal(`"title":` + plain + `,"blocks":[{"type":"markdown","text":"x"}]`), "unsupported type: markdown [json-pointer:/view/blocks/0/type]"},
	{"one focus", "modal", modal(`"title":` + plain + `,"submit":` + plain + `,"blocks":[` + input(`{"type":"plain_text_input","focus_on_load":true}`) + `]`),
		modal(`"title":` + plain + `,"submit":` + plain + `,"blocks":[` + input(`{"type":"plain_text_input","focus_on_load":true}`) + `,` + input(`{"type":"plain_text_input","focus_on_load":true}`) + `]`), "only one element may be focused on load [json-pointer:/view/blocks/1/element/focus_on_load]"},
	{"response_url_enabled", "modal", modal(`"title":` + plain + `,"submit":` + plain + `,"blocks":[` + input(`{"type":"conversations_select","response_url_enabled":true}`) + `]`), "", ""},
	{"unknown field", "modal", "", modal(`"title":` + plain + `,"blocks":[],"state":{}`), "invalid additional property: state [json-pointer:/view]"},
	{"wrong kind", "modal", "", `{"type":"home","blocks":[]}`, "unsupported type: home [json-pointer:/view/type]"},
}

func modal(fields string) string { return `{"type":"modal",` + fields + `}` }

func TestViewsAreHeldToSlacksLimits(t *testing.T) {
	for _, r := range viewRules {
		t.Run(r.name, func(t *testing.T) {
			if r.right != "" {
				if p := checkView(parse(t, r.right)[0].(map[string]any), r.want, true); len(p) > 0 {
					t.Errorf("what is right is refused: %q", p)
				}
			}
			if r.wrong != "" {
				if p := checkView(parse(t, r.wrong)[0].(map[string]any), r.want, true); len(p) != 1 || p[0] != r.problem {
					t.Errorf("said %q, want %q", p, r.problem)
				}
			}
		})
	}
}

func FuzzBlocks(f *testing.F) {
	for _, r := range blockRules {
		f.Add([]byte(expand("[" + r.right + "]")))
		f.Add([]byte(expand("[" + r.wrong + "]")))
	}
	for _, r := range viewRules {
		f.Add([]byte(expand(r.right)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := decodeJSON(b)
		if err != nil {
			return
		}
		switch v := v.(type) {
		case []any:
			if checkBlocks(v, onMessage, true) == nil { // what passes can be read by everybody else
				raw, err := json.Marshal(v)
				if err != nil {
					t.Fatal(err)
				}
				blocks := parseBlocks(raw)
				_, _, _, _ = buttons(blocks), selects(blocks), inputs(blocks), blockTexts(blocks)
				_ = mentionsIn("", blocks)
			}
			if checkBlocks(v, onMessage, true) == nil && checkBlocks(v, onMessage, false) != nil {
				t.Error("strict takes what lenient refuses")
			}
		case map[string]any:
			_ = checkView(v, "", true)
		}
	})
}
