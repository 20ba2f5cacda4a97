package sandbox

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
)

// How the test methods find what a person means: by id, by value, by label, by a label's beginning.

// pickOne finds the one thing that which names. Ids and whole names come before beginnings.
func pickOne[T any](what, which string, all []T, names func(T) []string) (T, error) {
	var none T
	for _, fits := range []func(name, which string) bool{
		func(name, which string) bool { return name == which },
		strings.EqualFold,
		func(name, which string) bool { return which != "" && strings.HasPrefix(name, which) },
	} {
		var hits []T
		for _, x := range all {
			for _, name := range names(x) {
				if fits(name, which) {
					hits = append(hits, x)
					break
				}
			}
		}
		if len(hits) == 1 {
			return hits[0], nil
		}
		if len(hits) > 1 {
			return none, fmt.Errorf("%d %ss are called %q", len(hits), what, which)
		}
	}
	var there []string
	for _, x := range all {
		there = append(there, fmt.Sprintf("%q", names(x)))
	}
	return none, noSuch("no %s %q; there are %s", what, which, strings.Join(there, ", "))
}

func pickButton(all []Button, which string) (Button, error) {
	return pickOne("button", which, all, func(b Button) []string { return []string{b.ActionID, b.Value, b.Label} })
}

func pickSelect(all []Select, which string, options []string) (Select, map[string]any, error) {
	s, err := pickOne("menu", which, all, func(s Select) []string { return []string{s.ActionID, s.BlockID, s.Label} })
	if err != nil {
		return s, nil, err
	}
	key := valueKey(s.Type)
	value, err := choose(s, key, options)
	return s, map[string]any{key: value}, err
}

// choose turns words into the value of a menu.
func choose(s Select, key string, words []string) (any, error) {
	var chosen []any
	for _, word := range words {
		if key != "selected_option" && key != "selected_options" || strings.Contains(s.Type, "external") {
			chosen = append(chosen, externalOrID(s, word))
			continue
		}
		o, err := pickOne("option", word, s.Options, func(o Option) []string { return []string{o.Value, o.Label} })
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, map[string]any{"value": o.Value})
	}
	switch {
	case strings.HasSuffix(key, "s"):
		return chosen, nil
	case len(chosen) == 0:
		return nil, nil
	case len(chosen) > 1:
		return nil, fmt.Errorf("the menu %q takes one choice", s.Label)
	}
	return chosen[0], nil
}

func externalOrID(s Select, word string) any {
	if strings.Contains(s.Type, "external") {
		return map[string]any{"text": map[string]any{"type": "plain_text", "text": word}, "value": word}
	}
	return word
}

// fill makes a modal's state from words: what it held already, and the named fields.
func fill(v View, fields map[string]string) (state, error) {
	typed := state{}
	for block, actions := range v.State.Values {
		typed[block] = map[string]map[string]any{}
		maps.Copy(typed[block], actions)
	}
	menus := v.Selects()
	for name, words := range fields {
		in, err := pickOne("field", name, v.Inputs(), func(in Input) []string { return []string{in.BlockID, in.ActionID, in.Label} })
		if err != nil {
			return nil, err
		}
		key := valueKey(in.Type)
		var value any = words
		switch {
		case key == "selected_date_time":
			value = json.Number(words)
		case strings.HasPrefix(key, "selected_") && key != "selected_date" && key != "selected_time":
			var s Select
			for _, m := range menus {
				if m.BlockID == in.BlockID && m.ActionID == in.ActionID {
					s = m
				}
			}
			var list []string
			if words != "" {
				list = []string{words}
			}
			if strings.HasSuffix(key, "s") {
				list = strings.FieldsFunc(words, func(r rune) bool { return r == ',' })
			}
			for i := range list {
				list[i] = strings.TrimSpace(list[i])
			}
			if value, err = choose(s, key, list); err != nil {
				return nil, err
			}
		}
		if typed[in.BlockID] == nil {
			typed[in.BlockID] = map[string]map[string]any{}
		}
		typed[in.BlockID][in.ActionID] = map[string]any{key: value}
	}
	return typed, nil
}
