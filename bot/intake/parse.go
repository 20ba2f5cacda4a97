package intake

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"rehome/policy"
)

// maxDepth is how deep a record may nest. The deepest feed known nests 6.
const maxDepth = 32

// object is a JSON object whose members are found in any case and without the
// spaces around their names. A member is nil (null), a string, a bool, a
// json.Number, a []any or an object.
type object map[string]member

type member struct {
	name  string // as sent
	value any
}

func fold(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

// parse reads one JSON object. encoding/json would take the last of two
// members of one name without a word; here that is an error, because whoever
// looked at the record before us may have read the first.
func parse(record []byte) (object, error) {
	record = bytes.TrimSpace(bytes.TrimPrefix(record, []byte("\ufeff")))
	switch {
	case len(record) == 0:
		return nil, malformed("", "the record is empty; send one JSON object")
	case !utf8.Valid(record):
		return nil, malformed("", "the record is not UTF-8; save it as UTF-8 and send it again")
	case record[0] != '{':
		return nil, malformed("", "the record is not a JSON object; send {…}, one for each violation")
	}
	if json.Valid(record) {
		if o, ok := quick(record); ok {
			return o, nil
		}
	}
	return slowly(record)
}

// slowly reads an object token by token, and says what is wrong where.
func slowly(record []byte) (object, error) {
	d := json.NewDecoder(bytes.NewReader(record))
	d.UseNumber()
	v, err := parseValue(d, "", 0)
	if err != nil {
		return nil, badJSON(err, d.InputOffset())
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, malformed("", fmt.Sprintf("more text follows the JSON object, at byte %d; send one object in each record", d.InputOffset()))
	}
	o, _ := v.(object) // the record begins with a brace
	return o, nil
}

func badJSON(err error, at int64) error {
	var syntax *json.SyntaxError
	var m *Malformed
	switch {
	case errors.As(err, &m):
		return m
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return malformed("", "the JSON ends too early; the record was cut off on its way here, send it again whole")
	case errors.As(err, &syntax):
		return malformed("", fmt.Sprintf("this is not JSON: %s, after byte %d; fix the record where it was written", syntax, at))
	}
	return malformed("", "this is not JSON; fix the record where it was written")
}

func parseValue(d *json.Decoder, at string, depth int) (any, error) {
	if depth > maxDepth {
		return nil, malformed(at, fmt.Sprintf("is nested more than %d deep; send the violation without what was wrapped around it", maxDepth))
	}
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		return parseObject(d, at, depth)
	case json.Delim('['):
		return parseArray(d, at, depth)
	}
	return t, nil
}

func parseObject(d *json.Decoder, at string, depth int) (object, error) {
	o := object{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := t.(string) // Token reports any other member name as a syntax error
		v, err := parseValue(d, join(at, name), depth+1)
		if err != nil {
			return nil, err
		}
		if _, twice := o[fold(name)]; twice {
			return nil, malformed(join(at, name), "is there twice; send it once")
		}
		o[fold(name)] = member{strings.TrimSpace(name), v}
	}
	_, err := d.Token() // the closing brace
	return o, err
}

func parseArray(d *json.Decoder, at string, depth int) ([]any, error) {
	var a []any
	for d.More() {
		v, err := parseValue(d, fmt.Sprintf("%s[%d]", at, len(a)), depth+1)
		if err != nil {
			return nil, err
		}
		a = append(a, v)
	}
	_, err := d.Token() // the closing bracket
	return a, err
}

// join appends a member's name to a path. Names come from outside and end up
// in errors, so they are kept short and on one line.
func join(at, name string) string {
	name = oneLine(name)
	if _, found := policy.Scrub(name); len(found) > 0 {
		name = "[" + found[0] + "]"
	}
	if len(name) > 60 {
		name = cut(name, 60)
	}
	if at == "" {
		return name
	}
	return at + "." + name
}
