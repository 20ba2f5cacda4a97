package sandbox

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// This file is the engine of the Block Kit validator: what a rule is, and how a value is held
// against it. The rules themselves, Slack's numbers, are tables in blockkit_rules.go.
//
// A problem is worded and placed as Slack does it:
//
//	must be less than 3001 characters [json-pointer:/blocks/0/text/text]

// surface is where blocks are shown; it decides how many there may be, and which.
type surface int

const (
	onMessage surface = 1 << iota
	onModal
	onHome
)

func (s surface) maxBlocks() int {
	if s == onMessage {
		return 50
	}
	return 100
}

// rule judges one value at one place.
type rule func(c *checker, at string, v any)

// shape is an object: the fields it may have, those it must have, and what concerns several at once.
type shape struct {
	required []string
	fields   map[string]rule
	surfaces surface // blocks only; zero means everywhere
	also     func(c *checker, at string, o map[string]any)
}

// checker collects problems over one payload, and what must be unique or counted across it.
type checker struct {
	surface  surface
	strict   bool
	problems []string

	blockIDs map[string]bool
	focused  bool
	markdown int  // characters in markdown blocks
	tables   int  // table blocks
	inModal  bool // inside an input block of a modal, where response_url_enabled is allowed
}

const maxProblems = 50 // a payload that is wrong everywhere need not be listed to its end

func (c *checker) fail(at, format string, a ...any) {
	if len(c.problems) < maxProblems {
		c.problems = append(c.problems, fmt.Sprintf(format, a...)+" [json-pointer:"+at+"]")
	}
}

// checkBlocks validates the blocks of a message.
func checkBlocks(blocks []any, where surface, strict bool) []string {
	c := &checker{surface: where, strict: strict, blockIDs: map[string]bool{}}
	c.blocks("/blocks", blocks)
	return c.problems
}

// checkView validates a modal or a Home tab. want is "modal", "home", or "" for either.
func checkView(view map[string]any, want string, strict bool) []string {
	c := &checker{strict: strict, blockIDs: map[string]bool{}}
	kind := str(view["type"])
	switch {
	case want != "" && kind != want, kind != "modal" && kind != "home":
		c.fail("/view/type", "unsupported type: %s", cmp.Or(kind, "none"))
		return c.problems
	case kind == "modal":
		c.surface = onModal
		c.object("/view", view, modalShape)
	default:
		c.surface = onHome
		c.object("/view", view, homeShape)
	}
	return c.problems
}

func (c *checker) blocks(at string, blocks []any) {
	if most := c.surface.maxBlocks(); len(blocks) > most {
		c.fail(at, "no more than %d items allowed", most)
	}
	for i, b := range blocks {
		c.block(fmt.Sprintf("%s/%d", at, i), b)
	}
}

func (c *checker) block(at string, v any) {
	o, ok := v.(map[string]any)
	if !ok {
		c.fail(at, "must provide an object")
		return
	}
	kind := str(o["type"])
	s, known := blockShapes[kind]
	if !known || s.surfaces != 0 && s.surfaces&c.surface == 0 {
		c.fail(at+"/type", "unsupported type: %s", cmp.Or(kind, "none"))
		return
	}
	if id := str(o["block_id"]); id != "" {
		if c.blockIDs[id] {
			c.fail(at+"/block_id", "block_id already exists: %s", id)
		}
		c.blockIDs[id] = true
	}
	c.object(at, o, s)
}

// object holds an object against its shape: nothing missing, nothing unknown, each field right.
func (c *checker) object(at string, o map[string]any, s shape) {
	for _, name := range s.required {
		if o[name] == nil {
			c.fail(at, "missing required field: %s", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o)) {
		judge, known := s.fields[name]
		switch {
		case name == "type":
		case !known:
			c.fail(at, "invalid additional property: %s", name)
		case o[name] != nil: // null is absent
			judge(c, at+"/"+pointer(name), o[name])
		}
	}
	if s.also != nil {
		s.also(c, at, o)
	}
}

// pointer escapes a name for a JSON pointer (RFC 6901).
func pointer(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

// chars is a string of at least least and at most most characters.
func chars(least, most int) rule {
	return func(c *checker, at string, v any) {
		s, ok := v.(string)
		if !ok {
			c.fail(at, "must be a string")
			return
		}
		c.length(at, s, least, most)
	}
}

func (c *checker) length(at, s string, least, most int) {
	n := utf8.RuneCountInString(s)
	if n < least {
		c.fail(at, "must be more than %d characters", least-1)
	}
	if most > 0 && n > most {
		c.fail(at, "must be less than %d characters", most+1)
	}
}

func boolean(c *checker, at string, v any) {
	if _, ok := v.(bool); !ok {
		c.fail(at, "must be a boolean")
	}
}

// number is an integer between two bounds, both included.
func number(least, most int64) rule {
	return func(c *checker, at string, v any) {
		n, err := toInt(v)
		switch {
		case err != nil:
			c.fail(at, "must be an integer")
		case n < least:
			c.fail(at, "must be greater than or equal to %d", least)
		case n > most:
			c.fail(at, "must be less than or equal to %d", most)
		}
	}
}

func toInt(v any) (int64, error) {
	switch n := v.(type) {
	case json.Number:
		return n.Int64()
	case float64:
		if n == float64(int64(n)) {
			return int64(n), nil
		}
	}
	return 0, fmt.Errorf("%v is not an integer", v)
}

// oneOf is one of some words.
func oneOf(words ...string) rule {
	return func(c *checker, at string, v any) {
		if s, ok := v.(string); !ok || !slices.Contains(words, s) {
			c.fail(at, "must be a valid enum value: %s", strings.Join(words, ", "))
		}
	}
}

// link is an absolute http(s) or app URL of at most most characters.
func link(most int) rule {
	return func(c *checker, at string, v any) {
		s, ok := v.(string)
		if !ok {
			c.fail(at, "must be a string")
			return
		}
		c.length(at, s, 1, most)
		if u, err := url.Parse(s); err != nil || u.Scheme == "" {
			c.fail(at, "must be a valid url")
		}
	}
}

// text is a text object: its kinds, its length, and no emoji flag on mrkdwn or verbatim on plain_text.
func text(kinds string, most int) rule {
	return func(c *checker, at string, v any) {
		o, ok := v.(map[string]any)
		if !ok {
			c.fail(at, "must provide an object")
			return
		}
		kind := str(o["type"])
		if kind == "" || !slices.Contains(strings.Split(kinds, "|"), kind) {
			c.fail(at+"/type", "unsupported type: %s", cmp.Or(kind, "none"))
			return
		}
		fields := map[string]rule{"text": chars(1, most), "emoji": boolean}
		if kind == "mrkdwn" {
			fields = map[string]rule{"text": chars(1, most), "verbatim": boolean}
		}
		c.object(at, o, shape{required: []string{"text"}, fields: fields})
	}
}

// list is an array of least to most values, each judged alike.
func list(least, most int, each rule) rule {
	return func(c *checker, at string, v any) {
		items, ok := v.([]any)
		if !ok {
			c.fail(at, "must be an array")
			return
		}
		if len(items) < least {
			c.fail(at, "no less than %d items required", least)
		}
		if len(items) > most {
			c.fail(at, "no more than %d items allowed", most)
			items = items[:most]
		}
		for i, x := range items {
			each(c, fmt.Sprintf("%s/%d", at, i), x)
		}
	}
}

// object is a nested object of a given shape.
func object(s *shape) rule {
	return func(c *checker, at string, v any) {
		o, ok := v.(map[string]any)
		if !ok {
			c.fail(at, "must provide an object")
			return
		}
		c.object(at, o, *s)
	}
}

// anyOf is an object whose type names its shape in a table, if it is among the allowed ones.
func anyOf(table *map[string]shape, allowed ...string) rule {
	return func(c *checker, at string, v any) {
		o, ok := v.(map[string]any)
		if !ok {
			c.fail(at, "must provide an object")
			return
		}
		kind := str(o["type"])
		s, known := (*table)[kind]
		if !known || len(allowed) > 0 && !slices.Contains(allowed, kind) {
			c.fail(at+"/type", "unsupported type: %s", cmp.Or(kind, "none"))
			return
		}
		c.object(at, o, s)
	}
}

// anything is a value that is not looked into.
func anything(*checker, string, any) {}

// textLength counts all text in a message's blocks, for msg_blocks_too_long.
func textLength(v any) int {
	n := 0
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			n += textLength(x)
		}
	case map[string]any:
		for k, x := range v {
			if s, ok := x.(string); ok {
				if k == "text" {
					n += utf8.RuneCountInString(s)
				}
			} else {
				n += textLength(x)
			}
		}
	}
	return n
}
