package sandbox

import (
	"cmp"
	"time"
)

// Rich text and table cells: the shapes that nest.

func layout(c *checker, at string, v any, goLayout, said string) {
	s, ok := v.(string)
	if _, err := time.Parse(goLayout, s); !ok || err != nil || len(s) != len(goLayout) {
		c.fail(at, "must be formatted as %s", said)
	}
}

var (
	richShapes map[string]shape // rich_text_section and its siblings
	leafShapes map[string]shape // what they contain
)

func init() {
	style := object(&shape{fields: map[string]rule{"bold": boolean, "italic": boolean, "strike": boolean, "code": boolean, "underline": boolean,
		"highlight": boolean, "client_highlight": boolean, "unlink": boolean}})
	leaves := list(0, 1000, anyOf(&leafShapes))
	leaf := func(required string, fields map[string]rule) shape {
		fields["style"] = style
		return shape{required: []string{required}, fields: fields}
	}
	leafShapes = map[string]shape{
		"text":      leaf("text", map[string]rule{"text": chars(0, 0)}),
		"user":      leaf("user_id", map[string]rule{"user_id": chars(1, 255)}),
		"usergroup": leaf("usergroup_id", map[string]rule{"usergroup_id": chars(1, 255)}),
		"channel":   leaf("channel_id", map[string]rule{"channel_id": chars(1, 255)}),
		"team":      leaf("team_id", map[string]rule{"team_id": chars(1, 255)}),
		"broadcast": leaf("range", map[string]rule{"range": oneOf("here", "channel", "everyone")}),
		"link":      leaf("url", map[string]rule{"url": link(3000), "text": chars(0, 0), "unsafe": boolean}),
		"emoji":     leaf("name", map[string]rule{"name": chars(1, 255), "unicode": chars(1, 255), "url": link(3000), "skin_tone": anything}),
		"color":     leaf("value", map[string]rule{"value": chars(1, 255)}),
		"date":      leaf("timestamp", map[string]rule{"timestamp": number(0, 1<<53), "format": chars(1, 255), "url": link(3000), "fallback": chars(0, 255)}),
	}
	richShapes = map[string]shape{
		"rich_text_section":      {required: []string{"elements"}, fields: map[string]rule{"elements": leaves}},
		"rich_text_quote":        {required: []string{"elements"}, fields: map[string]rule{"elements": leaves, "border": number(0, 1)}},
		"rich_text_preformatted": {required: []string{"elements"}, fields: map[string]rule{"elements": leaves, "border": number(0, 1), "language": chars(1, 100)}},
		"rich_text_list": {required: []string{"elements", "style"}, fields: map[string]rule{
			"elements": list(0, 1000, anyOf(&richShapes, "rich_text_section")), "style": oneOf("bullet", "ordered"),
			"indent": number(0, 8), "offset": number(0, 1<<31), "border": number(0, 1)}},
	}
}

func richElement(c *checker, at string, v any) { anyOf(&richShapes)(c, at, v) }

// tableCell is raw text, a number, or rich text.
func tableCell(c *checker, at string, v any) {
	o, ok := v.(map[string]any)
	if !ok {
		c.fail(at, "must provide an object")
		return
	}
	switch kind := str(o["type"]); kind {
	case "raw_text":
		c.object(at, o, shape{required: []string{"text"}, fields: map[string]rule{"text": chars(1, 0)}})
	case "raw_number":
		c.object(at, o, shape{required: []string{"value"}, fields: map[string]rule{"value": anything, "text": chars(0, 0)}})
	case "rich_text":
		c.object(at, o, shape{required: []string{"elements"}, fields: withID(map[string]rule{"elements": list(0, 1000, richElement)})})
	default:
		c.fail(at+"/type", "unsupported type: %s", cmp.Or(kind, "none"))
	}
}
