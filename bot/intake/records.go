package intake

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
)

// A Record is one record of a file, as it stands there.
type Record struct {
	Index int    // from 0
	Line  int    // the line it begins on, from 1
	Raw   []byte // the caller's to keep; with an error, what there is of it or the beginning of that

	columns map[string]string // of a CSV file: path → the column that fills it
}

// Records yields the records of r in order: the lines of NDJSON, the elements of
// a JSON array, or JSON objects one after the other that may span lines. At most
// one record is held at a time.
//
// A record that cannot be had (too large, cut off) is yielded with its place and
// an error, and the next one follows; after an error of r itself nothing does.
// What is in a record is for [Decode] to judge.
func Records(r io.Reader) iter.Seq2[Record, error] { return records(r, MaxRecord) }

// records reads with a buffer of the given size: telling NDJSON from an object
// that spans lines takes a look at one whole record.
func records(r io.Reader, buffer int) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		s := &scanner{r: bufio.NewReaderSize(r, buffer), line: 1}
		if head, _ := s.r.Peek(3); string(head) == "\ufeff" {
			s.skip(len(head))
		}
		first, err := s.peekPastSpace()
		switch {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			yield(Record{Line: s.line}, err)
		case first == '[':
			s.array(yield)
		case first == '{' && s.spansLines():
			s.objects(yield)
		default:
			s.lines(yield)
		}
	}
}

// scanner cuts a stream into records and counts lines.
type scanner struct {
	r     *bufio.Reader
	line  int
	index int
}

// spansLines reports whether the next record is an object that is whole only
// after a line's end. Whatever is broken counts as lines, where one bad record
// does not take the rest with it. It looks no further ahead than it must: the
// next record of a feed may be hours away.
func (s *scanner) spansLines() bool {
	for {
		ahead, _ := s.r.Peek(s.r.Buffered())
		if end := bytes.IndexByte(ahead, '\n'); end >= 0 {
			if json.Valid(ahead[:end]) {
				return false
			}
			var whole json.RawMessage
			err := json.NewDecoder(bytes.NewReader(ahead)).Decode(&whole)
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				return err == nil && len(whole) > end
			}
		}
		// Sound so far: a broken line would have clashed with the one after it.
		if _, err := s.r.Peek(len(ahead) + 1); err != nil {
			return bytes.IndexByte(ahead, '\n') >= 0
		}
	}
}

// lines yields each line that is not blank.
func (s *scanner) lines(yield func(Record, error) bool) {
	for {
		raw, tooLong, err := s.readLine()
		rec := Record{Index: s.index, Line: s.line}
		s.line++
		if raw = trim(raw); len(raw) > 0 || tooLong {
			s.index++
			if !s.give(yield, rec, raw, tooLong) {
				return
			}
		}
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			yield(rec, err)
			return
		}
	}
}

// readLine reads to the line's end, but keeps no more than a record may have.
func (s *scanner) readLine() (line []byte, tooLong bool, err error) {
	for {
		part, err := s.r.ReadSlice('\n')
		if !tooLong && len(line)+len(part) > MaxRecord+1 {
			line, tooLong = begin(append(line, part...)), true
		}
		if !tooLong {
			line = append(line, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, tooLong, err
		}
	}
}

// objects yields JSON objects that follow each other.
func (s *scanner) objects(yield func(Record, error) bool) {
	for {
		if _, err := s.peekPastSpace(); errors.Is(err, io.EOF) {
			return
		}
		if !s.value(yield) {
			return
		}
	}
}

// array yields the elements of a JSON array.
func (s *scanner) array(yield func(Record, error) bool) {
	s.skip(1)
	for {
		c, err := s.peekPastSpace()
		switch {
		case err != nil:
			yield(Record{Index: s.index, Line: s.line}, cutOff(err, "the list ends without its closing bracket; the file was cut off, get it again whole"))
			return
		case c == ',':
			s.skip(1)
		case c == ']':
			s.skip(1)
			if _, err := s.peekPastSpace(); err == nil {
				yield(Record{Index: s.index, Line: s.line}, malformed("", "more text follows the list; put every record between its brackets"))
			}
			return
		default:
			if !s.value(yield) {
				return
			}
		}
	}
}

// value yields the JSON value that begins here. It follows quotes and brackets
// only, so that one bad record does not hide where the next begins.
func (s *scanner) value(yield func(Record, error) bool) bool {
	rec := Record{Index: s.index, Line: s.line}
	s.index++
	var raw []byte
	var tooLong bool
	var at nesting
	for {
		c, err := s.r.ReadByte()
		if errors.Is(err, io.EOF) && at.depth == 0 && !at.quoted {
			return s.give(yield, rec, raw, tooLong)
		}
		if err != nil {
			rec.Raw = raw
			yield(rec, cutOff(err, "the record is not closed before the file ends; the file was cut off, get it again whole"))
			return false
		}
		if len(raw) > 0 && at.depth == 0 && !at.quoted && endsScalar(c) {
			_ = s.r.UnreadByte() // cannot fail right after ReadByte
			return s.give(yield, rec, raw, tooLong)
		}
		if c == '\n' {
			s.line++
		}
		if len(raw) == MaxRecord {
			raw, tooLong = begin(raw), true
		}
		if !tooLong {
			raw = append(raw, c)
		}
		if at.closes(c) {
			return s.give(yield, rec, raw, tooLong)
		}
	}
}

// endsScalar reports whether c ends a number or a word, which a record never is.
func endsScalar(c byte) bool { return bytes.IndexByte([]byte(",] \t\r\n"), c) >= 0 }

// nesting is where in a JSON value a byte stands.
type nesting struct {
	depth   int
	quoted  bool
	escaped bool
}

// closes takes the next byte and reports whether it ends an object or array.
func (n *nesting) closes(c byte) bool {
	switch {
	case n.escaped:
		n.escaped = false
	case n.quoted:
		n.escaped = c == '\\'
		n.quoted = c != '"'
	case c == '"':
		n.quoted = true
	case c == '{', c == '[':
		n.depth++
	case c == '}', c == ']':
		n.depth--
		return n.depth <= 0
	}
	return false
}

func (s *scanner) give(yield func(Record, error) bool, rec Record, raw []byte, tooLong bool) bool {
	if tooLong || len(raw) > MaxRecord {
		rec.Raw = begin(raw)
		return yield(rec, malformed("", "the record is over 1 MiB; send one violation in each record"))
	}
	rec.Raw = trim(raw)
	return yield(rec, nil)
}

// begin returns as much of a record as is kept of one that is too large.
func begin(raw []byte) []byte { return bytes.Clone(raw[:min(len(raw), maxKept)]) }

// trim takes off what JSON takes for white space, and nothing else.
func trim(raw []byte) []byte { return bytes.Trim(raw, " \t\r\n") }

// peekPastSpace returns the next byte that is not white space without taking it.
func (s *scanner) peekPastSpace() (byte, error) {
	for {
		b, err := s.r.Peek(1)
		if err != nil {
			return 0, err
		}
		switch b[0] {
		case '\n':
			s.line++
		case ' ', '\t', '\r':
		default:
			return b[0], nil
		}
		s.skip(1)
	}
}

func (s *scanner) skip(n int) { _, _ = s.r.Discard(n) } // n bytes were peeked, so they are there

func cutOff(err error, message string) error {
	if errors.Is(err, io.EOF) {
		return malformed("", message)
	}
	return fmt.Errorf("reading: %w", err)
}
