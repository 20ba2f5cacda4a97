package sandbox

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Text between people and Slack: what is typed becomes escaped text with control sequences, and for
// apps that text is rich text again.

// typed turns what a person typed into Slack's text: escaped, with @name, #channel, @here … as
// control sequences. named gives commands' form, <@U…|name>.
func (w *Workspace) typed(text string, named bool) string {
	var out strings.Builder
	boundary := true // a sign within a word, as in an e-mail address, is only a letter
	for rest := escape(text); rest != ""; {
		if boundary && (rest[0] == '@' || rest[0] == '#') {
			name := nameAt(rest[1:])
			if id := w.idOf(rest[0], name); id != "" {
				out.WriteString(reference(rest[0], id, name, named))
				rest = rest[1+len(name):]
				continue
			}
		}
		boundary = strings.IndexByte(" \n\t([\"'", rest[0]) >= 0
		out.WriteByte(rest[0])
		rest = rest[1:]
	}
	return out.String()
}

// nameAt is the handle that text begins with.
func nameAt(text string) string {
	end := strings.IndexFunc(text, func(r rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789._-", r) })
	if end >= 0 {
		text = text[:end]
	}
	return strings.TrimRight(text, ".-_")
}

func reference(sign byte, id, name string, named bool) string {
	switch {
	case id[0] == '!':
		return "<" + id + ">"
	case named:
		return "<" + string(sign) + id + "|" + name + ">"
	}
	return "<" + string(sign) + id + ">"
}

func (w *Workspace) idOf(sign byte, name string) string {
	if sign == '#' {
		for _, c := range w.channels {
			if c.Name != "" && c.Name == name {
				return c.ID
			}
		}
		return ""
	}
	if name == "channel" || name == "here" || name == "everyone" {
		return "!" + name
	}
	ids := slices.Sorted(maps.Keys(w.people))
	i := slices.IndexFunc(ids, func(id string) bool { return w.people[id].Name == name })
	if i < 0 {
		return ""
	}
	return ids[i]
}

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

func escape(s string) string { return escaper.Replace(s) }

var control = regexp.MustCompile(`<([@#!])?([^<>|]+)(?:\|([^<>]*))?>`)

var unescape = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")

// richText is typed text as a rich_text block.
func richText(blockID, text string) map[string]any {
	var leaves []any
	plain := func(s string) {
		if s != "" {
			leaves = append(leaves, map[string]any{"type": "text", "text": unescape.Replace(s)})
		}
	}
	at := 0
	for _, hit := range control.FindAllStringSubmatchIndex(text, -1) {
		plain(text[at:hit[0]])
		at = hit[1]
		sign, target := "", text[hit[4]:hit[5]]
		if hit[2] >= 0 {
			sign = text[hit[2]:hit[3]]
		}
		switch sign {
		case "@":
			leaves = append(leaves, map[string]any{"type": "user", "user_id": target})
		case "#":
			leaves = append(leaves, map[string]any{"type": "channel", "channel_id": target})
		case "!":
			leaves = append(leaves, map[string]any{"type": "broadcast", "range": target})
		default:
			leaves = append(leaves, map[string]any{"type": "link", "url": unescape.Replace(target)})
		}
	}
	plain(text[at:])
	return map[string]any{"type": "rich_text", "block_id": blockID,
		"elements": []any{map[string]any{"type": "rich_text_section", "elements": leaves}}}
}
