package bolt

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"

	"rehome/conversation"
	"rehome/store"
)

// Every value in the file is a record:
//
//	version 1 byte │ CRC-32C 4 bytes │ body
//
// The checksum covers the bucket's name, the key, the version and the body:
// bbolt has none on its data pages, and a value under the wrong key is as
// damaged as a wrong value.
const (
	recordVersion = 1
	recordHeader  = 5
)

// seal makes a record of a body, which may come in parts.
func seal(bucket string, key []byte, body ...[]byte) []byte {
	size := recordHeader
	for _, part := range body {
		size += len(part)
	}
	record := make([]byte, recordHeader, size)
	record[0] = recordVersion
	for _, part := range body {
		record = append(record, part...)
	}
	binary.BigEndian.PutUint32(record[1:], checksum(bucket, key, record))
	return record
}

// unseal returns the body of a record. It is part of the record and, like it,
// gone when the transaction ends.
func unseal(bucket string, key, record []byte) ([]byte, error) {
	if len(record) < recordHeader {
		return nil, damaged(bucket, key, "the record is cut short")
	}
	if binary.BigEndian.Uint32(record[1:]) != checksum(bucket, key, record) {
		return nil, damaged(bucket, key, "its checksum is wrong")
	}
	if version := record[0]; version != recordVersion {
		return nil, fmt.Errorf("record %x in %s has version %d: %w", key, bucket, version, ErrNewer)
	}
	return record[recordHeader:], nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// nameSums are the checksums of the buckets' names, which begin every other.
var nameSums = func() map[string]uint32 {
	sums := map[string]uint32{}
	for _, name := range buckets {
		sums[name] = crc32.Checksum([]byte(name), castagnoli)
	}
	return sums
}()

func checksum(bucket string, key, record []byte) uint32 {
	sum := crc32.Update(nameSums[bucket], castagnoli, key)
	sum = crc32.Update(sum, castagnoli, record[:1])
	return crc32.Update(sum, castagnoli, record[recordHeader:])
}

// damaged is the error about a record that is not what was written. The key is
// copied: it is gone when the transaction ends.
func damaged(bucket string, key []byte, what string) error {
	return &damage{bucket, bytes.Clone(key), what}
}

// damage is a record that is not what was written.
type damage struct {
	bucket string
	key    []byte
	what   string
}

func (d *damage) Error() string {
	return fmt.Sprintf("record %x in %s: %v: %s; restore from a backup", d.key, d.bucket, ErrDamaged, d.what)
}

func (d *damage) Unwrap() error { return ErrDamaged }

// damagedAs is a file that cannot be read.
type damagedAs struct{ path, why string }

func (d *damagedAs) Error() string {
	return fmt.Sprintf("%s: %v (%s); restore from a backup", d.path, ErrDamaged, d.why)
}

func (d *damagedAs) Unwrap() error { return ErrDamaged }

// number is a uint64 as a key or body, in an order that bbolt keeps.
func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// idOf returns the name people see of conversation n.
func idOf(n uint64) string { return "RH-" + strconv.FormatUint(n, 10) }

// numberOf returns n for RH-n, or 0 when id is not such a name.
func numberOf(id string) uint64 {
	digits, _ := strings.CutPrefix(id, "RH-")
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || idOf(n) != id {
		return 0
	}
	return n
}

// threadKey is the key of a thread's root. The channel's length comes first, so
// that no two roots share a key.
func threadKey(channel, ts string) []byte {
	key := binary.AppendUvarint(nil, uint64(len(channel)))
	return append(append(key, channel...), ts...)
}

// appKey is the key of a conversation whose facts name an app; without n, what
// the keys of all that name it begin with. The id's length comes first, so that
// no id begins another.
func appKey(appID string, n ...uint64) []byte {
	key := binary.AppendUvarint(nil, uint64(len(appID)))
	key = append(key, appID...)
	for _, n := range n {
		key = append(key, number(n)...)
	}
	return key
}

// The stored forms. What is kept is not what is passed around: a renamed field
// or type over there must not change what is read back here.

// A stamp is a time as it is kept: nanoseconds since 1970, 0 for none. Text
// costs as much as all the rest of a delivery; schema 1 had it, and it is still
// read.
type stamp int64

func stampOf(t time.Time) stamp {
	if t.IsZero() {
		return 0
	}
	return stamp(t.UnixNano())
}

func (s stamp) time() time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(s)).UTC()
}

func (s *stamp) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] != '"' {
		return json.Unmarshal(text, (*int64)(s))
	}
	var t time.Time
	err := json.Unmarshal(text, &t)
	*s = stampOf(t)
	return err
}

// held is a conversation as it is kept: the number of its newest journal entry,
// 8 bytes, then itself as JSON.
type held struct {
	newest uint64
	is     conversation.Conversation
}

func readHeld(key, body []byte) (held, error) {
	if len(body) < 8 {
		return held{}, damaged(inConversations, key, "it is cut short")
	}
	h := held{newest: binary.BigEndian.Uint64(body)}
	if err := json.Unmarshal(body[8:], &h.is); err != nil {
		return held{}, damaged(inConversations, key, err.Error())
	}
	return h, nil
}

// delivery is a store.Delivery as it is kept, under its id.
type delivery struct {
	Conversation uint64 `json:"conversation"`
	Line         string `json:"line"`
	Kind         string `json:"kind"`
	Effect       any    `json:"effect"` // a conversation.Effect, or the *json.RawMessage it was read as
	Created      stamp  `json:"created"`
	Due          stamp  `json:"due"`
	Attempts     int    `json:"attempts,omitempty"`
	LastError    string `json:"lastError,omitempty"`
	MaybeSent    stamp  `json:"maybeSent,omitzero"`
	Channel      string `json:"channel,omitempty"`
	Urgent       bool   `json:"urgent,omitempty"`
	Abandoned    bool   `json:"abandoned,omitempty"`
}

// The kinds of effects that are delivered, as they stand in the file.
const (
	kindShow   = "show"
	kindTell   = "tell"
	kindLookup = "lookup"
	kindGather = "gather"
	kindReport = "report"
	kindSpread = "spread"
)

// newDelivery makes a delivery of an effect that conversation n had, which is
// now c.
func newDelivery(n uint64, c conversation.Conversation, e conversation.Effect, at time.Time) (delivery, error) {
	d := delivery{Conversation: n, Effect: e, Line: store.LineOf(c, e), Channel: store.ChannelOf(c, e), Created: stampOf(at), Due: stampOf(at)}
	switch e.(type) {
	case conversation.Show:
		d.Kind = kindShow
	case conversation.Tell:
		d.Kind = kindTell
	case conversation.Lookup:
		d.Kind = kindLookup
	case conversation.Gather:
		d.Kind = kindGather
	case conversation.Report:
		d.Kind = kindReport
	case conversation.Spread:
		d.Kind = kindSpread
	default:
		return d, fmt.Errorf("an effect of type %T cannot be delivered", e)
	}
	return d, nil
}

func readDelivery(bucket string, key, body []byte) (d delivery, err error) {
	d.Effect = new(json.RawMessage)
	if err := json.Unmarshal(body, &d); err != nil {
		return d, damaged(bucket, key, err.Error())
	}
	return d, nil
}

// passed returns the delivery as others know it.
func (d delivery) passed(bucket string, key []byte) (store.Delivery, error) {
	out := store.Delivery{
		ID: binary.BigEndian.Uint64(key), Conversation: idOf(d.Conversation), Line: d.Line,
		Created: d.Created.time(), Due: d.Due.time(), Attempts: d.Attempts, LastError: d.LastError,
		MaybeSent: d.MaybeSent.time(), Channel: d.Channel, Urgent: d.Urgent, Abandoned: d.Abandoned,
	}
	var err error
	switch d.Kind {
	case kindShow:
		out.Effect, err = effect[conversation.Show](d.Effect)
	case kindTell:
		out.Effect, err = effect[conversation.Tell](d.Effect)
	case kindLookup:
		out.Effect, err = effect[conversation.Lookup](d.Effect)
	case kindGather:
		out.Effect, err = effect[conversation.Gather](d.Effect)
	case kindReport:
		out.Effect, err = effect[conversation.Report](d.Effect)
	case kindSpread:
		out.Effect, err = effect[conversation.Spread](d.Effect)
	default:
		return out, fmt.Errorf("delivery %d is of a kind this version does not know, %q: %w", out.ID, d.Kind, ErrNewer)
	}
	if err != nil {
		return out, damaged(bucket, key, err.Error())
	}
	return out, nil
}

// waiting is what lines keep of it.
func (d delivery) waiting(id uint64) waiting {
	return waiting{id: id, due: d.Due.time(), channel: d.Channel, urgent: d.Urgent}
}

func effect[E conversation.Effect](read any) (conversation.Effect, error) {
	var e E
	text, ok := read.(*json.RawMessage)
	if !ok {
		return nil, errors.New("it has no effect") // null takes the pointer away
	}
	err := json.Unmarshal(*text, &e)
	return e, err
}

// entry is a journal entry as it is kept, under its number: the hash that chains
// it to the one before, 32 bytes, then itself as JSON.
type entry struct {
	Conversation uint64 `json:"conversation"`     // 0 for the store's own
	Before       uint64 `json:"before,omitempty"` // number of the same conversation's entry before this one
	At           stamp  `json:"at"`
	By           string `json:"by,omitempty"`
	Text         string `json:"text"`
	Event        string `json:"event"`
}

func readEntry(key, body []byte) (e entry, err error) {
	if len(body) < hashSize {
		return e, damaged(inJournal, key, "it is cut short")
	}
	if err := json.Unmarshal(body[hashSize:], &e); err != nil {
		return e, damaged(inJournal, key, err.Error())
	}
	return e, nil
}

func (e entry) passed(seq uint64) store.Entry {
	out := store.Entry{Seq: seq, At: e.At.time(), By: e.By, Text: e.Text, Event: e.Event}
	if e.Conversation != 0 {
		out.Conversation = idOf(e.Conversation)
	}
	return out
}

// quarantined is a store.Quarantined as it is kept, under its id. Before schema
// 3 none was counted, and each came once.
type quarantined struct {
	At     stamp  `json:"at"`
	Last   stamp  `json:"last,omitzero"`
	Count  int    `json:"count,omitempty"`
	Source string `json:"source"`
	Why    string `json:"why"`
	Body   []byte `json:"body"`
}

func readQuarantined(key, body []byte) (store.Quarantined, error) {
	var q quarantined
	if err := json.Unmarshal(body, &q); err != nil {
		return store.Quarantined{}, damaged(inQuarantined, key, err.Error())
	}
	return store.Quarantined{
		ID: binary.BigEndian.Uint64(key), At: q.At.time(), Last: cmp.Or(q.Last, q.At).time(), Count: max(1, q.Count),
		Source: q.Source, Why: q.Why, Body: q.Body,
	}, nil
}
