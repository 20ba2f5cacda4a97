package sandbox

import (
	"fmt"
	"maps"
	"unicode/utf8"
)

// The numbers and shapes of Block Kit: https://docs.slack.dev/reference/block-kit, and for what it
// leaves out the comments of @slack/types 3.2.0.

const maxMarkdown = 12_000 // characters in all markdown blocks of a payload, and in markdown_text

var blockShapes map[string]shape
var elementShapes map[string]shape

func init() {
	blockShapes = blockTable()
	elementShapes = elementTable()
}

var blockID = chars(0, 255)

func withID(fields map[string]rule) map[string]rule {
	fields["block_id"] = blockID
	return fields
}

func blockTable() map[string]shape {
	element := func(allowed ...string) rule { return anyOf(&elementShapes, allowed...) }
	return map[string]shape{
		"section": {fields: withID(map[string]rule{
			"text": text("plain_text|mrkdwn", 3000), "fields": list(1, 10, text("plain_text|mrkdwn", 2000)),
			"accessory": element(sectionElements...), "expand": boolean,
		}), also: func(c *checker, at string, o map[string]any) {
			if o["text"] == nil && o["fields"] == nil {
				c.fail(at, "missing required field: text")
			}
		}},
		"header":  {required: []string{"text"}, fields: withID(map[string]rule{"text": text("plain_text", 150), "level": number(1, 4)})},
		"divider": {fields: withID(map[string]rule{})},
		"image": {required: []string{"alt_text"}, fields: withID(map[string]rule{
			"image_url": link(3000), "slack_file": anything, "alt_text": chars(1, 2000), "title": text("plain_text", 2000),
			"image_width": anything, "image_height": anything, "image_bytes": anything, "fallback": anything, "is_animated": anything,
		}), also: oneImageSource},
		"context": {required: []string{"elements"}, fields: withID(map[string]rule{"elements": list(1, 10, contextElement)})},
		"context_actions": {required: []string{"elements"}, surfaces: onMessage, fields: withID(map[string]rule{
			"elements": list(1, 5, element("feedback_buttons", "icon_button"))}), also: uniqueActions},
		"actions": {required: []string{"elements"}, fields: withID(map[string]rule{"elements": list(1, 25, element(actionElements...))}), also: uniqueActions},
		"input": {required: []string{"label", "element"}, fields: withID(map[string]rule{
			"label": text("plain_text", 2000), "hint": text("plain_text", 2000), "optional": boolean, "dispatch_action": boolean,
			"element": func(c *checker, at string, v any) {
				c.inModal = c.surface == onModal
				element(inputElements...)(c, at, v)
				c.inModal = false
			}})},
		"rich_text": {required: []string{"elements"}, fields: withID(map[string]rule{"elements": list(0, 1000, richElement)})},
		"markdown": {required: []string{"text"}, surfaces: onMessage, fields: withID(map[string]rule{"text": chars(1, maxMarkdown)}),
			also: func(c *checker, at string, o map[string]any) {
				before := c.markdown
				c.markdown += utf8.RuneCountInString(str(o["text"]))
				if before > 0 && c.markdown > maxMarkdown {
					c.fail(at+"/text", "must be less than %d characters in all markdown blocks", maxMarkdown+1)
				}
			}},
		"table": {required: []string{"rows"}, surfaces: onMessage, fields: withID(map[string]rule{
			"rows":            list(1, 100, list(1, 20, tableCell)),
			"column_settings": list(0, 20, object(&shape{fields: map[string]rule{"align": oneOf("left", "center", "right"), "is_wrapped": boolean}})),
		}), also: func(c *checker, at string, o map[string]any) {
			if c.tables++; c.tables > 1 {
				c.fail(at, "only_one_table_allowed")
			}
			if textLength(o["rows"]) > 10_000 {
				c.fail(at+"/rows", "must be less than 10001 characters")
			}
		}},
		"video": {required: []string{"alt_text", "title", "thumbnail_url", "video_url"}, fields: withID(map[string]rule{
			"alt_text": chars(1, 2000), "title": text("plain_text", 200), "title_url": link(3000), "description": text("plain_text", 200),
			"thumbnail_url": link(3000), "video_url": link(3000), "author_name": chars(1, 49), "provider_name": chars(1, 3000), "provider_icon_url": link(3000)})},
		"file": {required: []string{"external_id", "source"}, surfaces: onMessage, fields: withID(map[string]rule{"external_id": chars(1, 255), "source": oneOf("remote")})},
		"alert": {required: []string{"text"}, surfaces: onModal, fields: withID(map[string]rule{
			"text": text("plain_text|mrkdwn", 3000), "level": oneOf("default", "info", "warning", "error", "success")})},
	}
}

var (
	selectKinds = []string{"static_select", "external_select", "users_select", "conversations_select", "channels_select"}
	multiKinds  = []string{"multi_static_select", "multi_external_select", "multi_users_select", "multi_conversations_select", "multi_channels_select"}
	timeKinds   = []string{"datepicker", "timepicker", "datetimepicker"}

	actionElements  = join(selectKinds, multiKinds, timeKinds, []string{"button", "checkboxes", "overflow", "radio_buttons", "rich_text_input", "workflow_button"})
	sectionElements = join(selectKinds, multiKinds, timeKinds, []string{"button", "checkboxes", "image", "overflow", "radio_buttons", "workflow_button"})
	inputElements   = join(selectKinds, multiKinds, timeKinds, []string{"checkboxes", "radio_buttons", "plain_text_input", "email_text_input",
		"url_text_input", "number_input", "file_input", "rich_text_input"})
)

func join(lists ...[]string) []string {
	var all []string
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

func elementTable() map[string]shape {
	placeholder := text("plain_text", 150)
	action := func(fields map[string]rule) map[string]rule {
		fields["action_id"] = chars(0, 255)
		return fields
	}
	menu := func(fields map[string]rule) map[string]rule {
		fields["placeholder"], fields["confirm"], fields["focus_on_load"] = placeholder, object(&confirmShape), focus
		return action(fields)
	}
	multi := func(fields map[string]rule) map[string]rule {
		fields["max_selected_items"] = number(1, 1<<31)
		return menu(fields)
	}
	field := func(fields map[string]rule) map[string]rule {
		fields["placeholder"], fields["focus_on_load"] = placeholder, focus
		fields["dispatch_action_config"] = object(&shape{fields: map[string]rule{"trigger_actions_on": list(1, 2, oneOf("on_enter_pressed", "on_character_entered"))}})
		return action(fields)
	}
	oneInitial, manyInitial := option(true, 75), list(1, 100, option(true, 75))
	static := map[string]rule{"options": list(1, 100, option(true, 75)), "option_groups": list(1, 100, object(&groupShape))}
	conversations := map[string]rule{"default_to_current_conversation": boolean, "filter": object(&shape{fields: map[string]rule{
		"include": list(1, 4, oneOf("im", "mpim", "private", "public")), "exclude_external_shared_channels": boolean, "exclude_bot_users": boolean}})}
	id := chars(1, 255)
	return map[string]shape{
		"button": {required: []string{"text"}, fields: action(map[string]rule{"text": text("plain_text", 75), "value": chars(0, 2000), "url": link(3000),
			"style": oneOf("primary", "danger"), "confirm": object(&confirmShape), "accessibility_label": chars(1, 75)})},
		"workflow_button": {required: []string{"text", "workflow"}, fields: action(map[string]rule{"text": text("plain_text", 75), "workflow": anything,
			"style": oneOf("primary", "danger"), "accessibility_label": chars(1, 75)})},
		"icon_button": {required: []string{"icon", "text"}, fields: action(map[string]rule{"icon": oneOf("trash"), "text": text("plain_text", 75),
			"value": chars(0, 2000), "confirm": object(&confirmShape), "accessibility_label": chars(1, 75), "visible_to_user_ids": anything})},
		"feedback_buttons": {required: []string{"positive_button", "negative_button"}, fields: action(map[string]rule{"positive_button": object(&feedbackShape), "negative_button": object(&feedbackShape)})},
		"image":            {required: []string{"alt_text"}, fields: map[string]rule{"image_url": link(3000), "slack_file": anything, "alt_text": chars(1, 2000)}, also: oneImageSource},

		"static_select":              {fields: menu(with(static, "initial_option", oneInitial)), also: optionsOrGroups},
		"multi_static_select":        {fields: multi(with(static, "initial_options", manyInitial)), also: optionsOrGroups},
		"external_select":            {fields: menu(map[string]rule{"min_query_length": number(0, 1000), "initial_option": oneInitial})},
		"multi_external_select":      {fields: multi(map[string]rule{"min_query_length": number(0, 1000), "initial_options": manyInitial})},
		"users_select":               {fields: menu(map[string]rule{"initial_user": id})},
		"multi_users_select":         {fields: multi(map[string]rule{"initial_users": list(1, 100, id)})},
		"channels_select":            {fields: menu(map[string]rule{"initial_channel": id, "response_url_enabled": responseURLEnabled})},
		"multi_channels_select":      {fields: multi(map[string]rule{"initial_channels": list(1, 100, id)})},
		"conversations_select":       {fields: menu(with(with(conversations, "initial_conversation", id), "response_url_enabled", responseURLEnabled))},
		"multi_conversations_select": {fields: multi(with(conversations, "initial_conversations", list(1, 100, id)))},

		"overflow": {required: []string{"options"}, fields: action(map[string]rule{"options": list(1, 5, overflowOption), "confirm": object(&confirmShape)})},
		"checkboxes": {required: []string{"options"}, fields: action(map[string]rule{"options": list(1, 10, option(false, 75)),
			"initial_options": list(1, 10, option(false, 75)), "confirm": object(&confirmShape), "focus_on_load": focus}), also: initialAmong},
		"radio_buttons": {required: []string{"options"}, fields: action(map[string]rule{"options": list(1, 10, option(false, 75)),
			"initial_option": option(false, 75), "confirm": object(&confirmShape), "focus_on_load": focus}), also: initialAmong},

		"datepicker":     {fields: menu(map[string]rule{"initial_date": date})},
		"timepicker":     {fields: menu(map[string]rule{"initial_time": clock, "timezone": chars(1, 100)})},
		"datetimepicker": {fields: action(map[string]rule{"initial_date_time": number(1_000_000_000, 9_999_999_999), "confirm": object(&confirmShape), "focus_on_load": focus})},

		"plain_text_input": {fields: field(map[string]rule{"initial_value": chars(0, 3000), "multiline": boolean, "min_length": number(0, 3000), "max_length": number(1, 3000)})},
		"email_text_input": {fields: field(map[string]rule{"initial_value": chars(0, 3000)})},
		"url_text_input":   {fields: field(map[string]rule{"initial_value": chars(0, 3000)})},
		"rich_text_input":  {fields: field(map[string]rule{"initial_value": anything})},
		"number_input": {required: []string{"is_decimal_allowed"}, fields: field(map[string]rule{"is_decimal_allowed": boolean,
			"initial_value": chars(0, 100), "min_value": chars(0, 100), "max_value": chars(0, 100)})},
		"file_input": {fields: action(map[string]rule{"filetypes": list(1, 100, chars(1, 100)), "max_files": number(1, 10)})},
	}
}

func with(base map[string]rule, name string, r rule) map[string]rule {
	out := maps.Clone(base)
	out[name] = r
	return out
}

var (
	confirmShape = shape{required: []string{"title", "text", "confirm", "deny"}, fields: map[string]rule{
		"title": text("plain_text", 100), "text": text("plain_text|mrkdwn", 300), "confirm": text("plain_text", 30),
		"deny": text("plain_text", 30), "style": oneOf("primary", "danger")}}
	groupShape = shape{required: []string{"label", "options"}, fields: map[string]rule{
		"label": text("plain_text", 75), "options": list(1, 100, option(true, 75))}}
	feedbackShape = shape{required: []string{"text", "value"}, fields: map[string]rule{
		"text": text("plain_text", 75), "value": chars(0, 2000), "accessibility_label": chars(1, 75)}}

	modalShape = shape{required: []string{"title", "blocks"}, also: submitForInputs, fields: with(viewFields, "title", text("plain_text", 24))}
	homeShape  = shape{required: []string{"blocks"}, fields: viewFields}
	viewFields = map[string]rule{
		"blocks": func(c *checker, at string, v any) {
			blocks, ok := v.([]any)
			if !ok {
				c.fail(at, "must be an array")
				return
			}
			c.blocks(at, blocks)
		},
		"title": anything, "submit": text("plain_text", 24), "close": text("plain_text", 24),
		"private_metadata": chars(0, 3000), "callback_id": chars(0, 255), "external_id": chars(0, 255),
		"clear_on_close": boolean, "notify_on_close": boolean, "submit_disabled": boolean,
	}
)

// option is a choice. Slack's own sources disagree on the value's length: @slack/types says 75, the
// documentation has said 150; Config.Strict takes the smaller. Menus take plain text only.
func option(plainOnly bool, most int) rule {
	kinds := "plain_text|mrkdwn"
	if plainOnly {
		kinds = "plain_text"
	}
	return func(c *checker, at string, v any) {
		value := 150
		if c.strict {
			value = 75
		}
		s := shape{required: []string{"text", "value"}, fields: map[string]rule{
			"text": text(kinds, most), "value": chars(1, value), "description": text(kinds, 75)}}
		object(&s)(c, at, v)
	}
}

// overflowOption may have a url besides.
func overflowOption(c *checker, at string, v any) {
	if o, ok := v.(map[string]any); ok && o["url"] != nil {
		link(3000)(c, at+"/url", o["url"])
		o = mapWithout(o, "url")
		v = o
	}
	option(true, 75)(c, at, v)
}

func mapWithout(o map[string]any, name string) map[string]any {
	out := maps.Clone(o)
	delete(out, name)
	return out
}

func contextElement(c *checker, at string, v any) {
	if o, ok := v.(map[string]any); ok && o["type"] == "image" {
		anyOf(&elementShapes, "image")(c, at, v)
		return
	}
	text("plain_text|mrkdwn", 3000)(c, at, v)
}

func oneImageSource(c *checker, at string, o map[string]any) {
	if (o["image_url"] == nil) == (o["slack_file"] == nil) {
		c.fail(at, "must provide exactly one of image_url and slack_file")
	}
}

// uniqueActions: an action_id is unique within its block.
func uniqueActions(c *checker, at string, o map[string]any) {
	seen := map[string]bool{}
	items, _ := o["elements"].([]any)
	for i, x := range items {
		e, _ := x.(map[string]any)
		id := str(e["action_id"])
		if id != "" && seen[id] {
			c.fail(fmt.Sprintf("%s/elements/%d/action_id", at, i), "action_id already exists: %s", id)
		}
		seen[id] = true
	}
}

// optionsOrGroups: a static menu has exactly one of the two, and starts with one of its own.
func optionsOrGroups(c *checker, at string, o map[string]any) {
	if (o["options"] == nil) == (o["option_groups"] == nil) {
		c.fail(at, "must provide exactly one of options and option_groups")
		return
	}
	initialAmong(c, at, o)
}

func initialAmong(c *checker, at string, o map[string]any) {
	offered := map[string]bool{}
	for _, x := range optionsOf(o) {
		offered[str(x["value"])+"\x00"+textOf(x["text"])] = true
	}
	chosen := objects(o["initial_options"])
	if x, ok := o["initial_option"].(map[string]any); ok {
		chosen = append(chosen, x)
	}
	for _, x := range chosen {
		if !offered[str(x["value"])+"\x00"+textOf(x["text"])] {
			c.fail(at, "initial option must be one of the options provided")
		}
	}
}

// submitForInputs: a modal with an input block needs a submit button.
func submitForInputs(c *checker, at string, o map[string]any) {
	blocks, _ := o["blocks"].([]any)
	for _, b := range objects(blocks) {
		if b["type"] == "input" && o["submit"] == nil {
			c.fail(at, "missing required field: submit")
			return
		}
	}
}

// focus: one element of a view may ask for it.
func focus(c *checker, at string, v any) {
	on, ok := v.(bool)
	if !ok {
		c.fail(at, "must be a boolean")
	}
	if on && c.focused {
		c.fail(at, "only one element may be focused on load")
	}
	c.focused = c.focused || on
}

func responseURLEnabled(c *checker, at string, v any) {
	boolean(c, at, v)
	if v == true && !c.inModal {
		c.fail(at, "response_url_enabled is only allowed in input blocks of modals")
	}
}

func date(c *checker, at string, v any)  { layout(c, at, v, "2006-01-02", "YYYY-MM-DD") }
func clock(c *checker, at string, v any) { layout(c, at, v, "15:04", "HH:mm") }
