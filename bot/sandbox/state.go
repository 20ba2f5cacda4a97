package sandbox

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// What is typed and chosen in the fields of a view or message: Slack sends every field, filled or
// not, with its type; clients send what they have.

// state is fields by block id and action id.
type state map[string]map[string]map[string]any

// valueKey is where an element's value is in its state object; "" if it has none.
func valueKey(kind string) string {
	switch kind {
	case "plain_text_input", "email_text_input", "url_text_input", "number_input":
		return "value"
	case "static_select", "external_select", "radio_buttons", "overflow":
		return "selected_option"
	case "multi_static_select", "multi_external_select", "checkboxes":
		return "selected_options"
	case "users_select":
		return "selected_user"
	case "multi_users_select":
		return "selected_users"
	case "channels_select":
		return "selected_channel"
	case "multi_channels_select":
		return "selected_channels"
	case "conversations_select":
		return "selected_conversation"
	case "multi_conversations_select":
		return "selected_conversations"
	case "datepicker":
		return "selected_date"
	case "timepicker":
		return "selected_time"
	case "datetimepicker":
		return "selected_date_time"
	case "rich_text_input":
		return "rich_text_value"
	case "file_input":
		return "files"
	}
	return ""
}

// initialKey is where an element says what it starts with.
var initialKey = map[string]string{"value": "initial_value", "selected_option": "initial_option", "selected_options": "initial_options",
	"selected_user": "initial_user", "selected_users": "initial_users", "selected_channel": "initial_channel", "selected_channels": "initial_channels",
	"selected_conversation": "initial_conversation", "selected_conversations": "initial_conversations", "selected_date": "initial_date",
	"selected_time": "initial_time", "selected_date_time": "initial_date_time", "rich_text_value": "initial_value"}

// readState lays what a client sent over what the fields start with. The element just used, if any,
// has the value given with it.
func readState(blocks []map[string]any, typed state, usedBlock, used, given map[string]any) ViewState {
	out := ViewState{Values: map[string]map[string]map[string]any{}}
	eachElement(blocks, func(b, e map[string]any) {
		kind := str(e["type"])
		key := valueKey(kind)
		if key == "" || kind == "overflow" {
			return
		}
		block, action := str(b["block_id"]), str(e["action_id"])
		value, sent := typed[block][action][key]
		if used != nil && block == str(usedBlock["block_id"]) && action == str(used["action_id"]) {
			value, sent = given[key], true
		}
		if !sent {
			value = e[initialKey[key]]
		}
		if out.Values[block] == nil {
			out.Values[block] = map[string]map[string]any{}
		}
		out.Values[block][action] = map[string]any{"type": kind, key: chosen(e, key, value)}
	})
	return out
}

// chosen is a value as Slack sends it: options are the app's own objects, an empty field is null, an
// empty list an empty list.
func chosen(element map[string]any, key string, value any) any {
	switch key {
	case "selected_option":
		return ownOption(element, value)
	case "selected_options":
		own := []any{}
		items, _ := value.([]any)
		for _, x := range items {
			if o := ownOption(element, x); o != nil {
				own = append(own, o)
			}
		}
		return own
	case "selected_users", "selected_channels", "selected_conversations", "files":
		if items, ok := value.([]any); ok {
			return items
		}
		return []any{}
	}
	if value == "" {
		return nil
	}
	return value
}

func ownOption(element map[string]any, value any) any {
	o, ok := value.(map[string]any)
	if !ok {
		return nil
	}
	offered := optionsOf(element)
	if i := slices.IndexFunc(offered, func(x map[string]any) bool { return str(x["value"]) == str(o["value"]) }); i >= 0 {
		return offered[i]
	}
	if strings.Contains(str(element["type"]), "external") { // its options were never in the view
		return o
	}
	return nil
}

// incomplete is what Slack's client finds wrong with a form before it sends it.
func incomplete(blocks []map[string]any, s ViewState) ViewErrors {
	out := ViewErrors{}
	for _, b := range blocks {
		e, ok := b["element"].(map[string]any)
		if !ok || b["type"] != "input" {
			continue
		}
		id := str(b["block_id"])
		value := s.Values[id][str(e["action_id"])][valueKey(str(e["type"]))]
		items, isList := value.([]any)
		if value == nil || isList && len(items) == 0 {
			if optional, _ := b["optional"].(bool); !optional {
				out[id] = "Please complete this required field."
			}
			continue
		}
		n := int64(utf8.RuneCountInString(str(value)))
		if least, err := toInt(e["min_length"]); err == nil && n < least {
			out[id] = "Please lengthen this text."
		}
		if most, err := toInt(e["max_length"]); err == nil && n > most {
			out[id] = "Please shorten this text."
		}
	}
	return out
}
