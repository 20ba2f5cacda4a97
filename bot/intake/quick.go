package intake

import (
	"encoding/json"
	"strings"
)

// quick reads a JSON object that is known to be valid JSON in UTF-8, several
// times as fast as encoding/json's tokens. What it does not take (a member
// twice, too deep, no object) it leaves to parse, which says what is wrong.
func quick(valid []byte) (object, bool) {
	q := quickReader{b: valid}
	v, ok := q.value(0)
	o, isObject := v.(object)
	return o, ok && isObject
}

// quickReader stands before the next byte of valid JSON.
type quickReader struct {
	b []byte
	i int
}

// next returns the next byte that is not white space, without taking it.
func (q *quickReader) next() byte {
	for {
		switch c := q.b[q.i]; c {
		case ' ', '\t', '\r', '\n':
			q.i++
		default:
			return c
		}
	}
}

func (q *quickReader) value(depth int) (any, bool) {
	if depth > maxDepth {
		return nil, false
	}
	switch q.next() {
	case '{':
		return q.object(depth)
	case '[':
		return q.array(depth)
	case '"':
		return q.text(), true
	case 't':
		q.i += len("true")
		return true, true
	case 'f':
		q.i += len("false")
		return false, true
	case 'n':
		q.i += len("null")
		return nil, true
	}
	start := q.i
	for q.i < len(q.b) && strings.IndexByte("+-.eE0123456789", q.b[q.i]) >= 0 {
		q.i++
	}
	return json.Number(q.b[start:q.i]), true
}

func (q *quickReader) object(depth int) (any, bool) {
	o := object{}
	for q.i++; q.next() != '}'; {
		if q.b[q.i] == ',' {
			q.i++
			q.next()
		}
		name := q.text()
		q.next()
		q.i++ // the colon
		v, ok := q.value(depth + 1)
		folded := fold(name)
		if _, twice := o[folded]; twice || !ok {
			return nil, false
		}
		o[folded] = member{strings.TrimSpace(name), v}
	}
	q.i++
	return o, true
}

func (q *quickReader) array(depth int) (any, bool) {
	var a []any
	for q.i++; q.next() != ']'; {
		if q.b[q.i] == ',' {
			q.i++
		}
		v, ok := q.value(depth + 1)
		if !ok {
			return nil, false
		}
		a = append(a, v)
	}
	q.i++
	return a, true
}

// text reads the string that begins here.
func (q *quickReader) text() string {
	start := q.i
	escaped := false
	for q.i++; q.b[q.i] != '"'; q.i++ {
		if q.b[q.i] == '\\' {
			escaped = true
			q.i++
		}
	}
	q.i++
	if !escaped {
		return string(q.b[start+1 : q.i-1])
	}
	var s string
	_ = json.Unmarshal(q.b[start:q.i], &s) // valid, so it is a string
	return s
}
