package bolt

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
)

// Whatever stands in a file: a record is what was sealed under its key or is
// refused, and a body that was sealed is read or refused.
func FuzzRecord(f *testing.F) {
	for _, body := range []string{
		``, `{}`, `null`, `{"conversation":1,"line":"RH-1/0","kind":"show","effect":{"In":0,"Card":"root"},"created":1,"due":1}`,
		`{"kind":"show","effect":null}`, `{"kind":"none"}`, `{"at":1,"source":"http","why":"x","body":"aGk="}`, `{"Conversation":1,"At":-1,"Text":"…"}`,
	} {
		f.Add([]byte(body), uint16(3))
		f.Add(append(make([]byte, hashSize), body...), uint16(20))
		f.Add(append(number(7), body...), uint16(0))
	}
	f.Fuzz(func(t *testing.T, body []byte, at uint16) {
		key := number(7)
		for _, bucket := range buckets {
			record := seal(bucket, key, body)
			got, err := unseal(bucket, key, record)
			if err != nil || !bytes.Equal(got, body) {
				t.Fatalf("sealed %q in %s, and it is %q, %v", body, bucket, got, err)
			}
			if got, err := unseal(bucket, number(8), record); err == nil {
				t.Fatalf("under another key %s has %q", bucket, got)
			}
			record[int(at)%len(record)] ^= 1
			if got, err := unseal(bucket, key, record); err == nil {
				t.Fatalf("with a bit flipped %s has %q", bucket, got)
			}
		}
		_, _ = unseal(inJournal, key, body)

		refused := func(err error) {
			t.Helper()
			if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
				t.Fatalf("%q: %v, want ErrDamaged or ErrNewer", body, err)
			}
		}
		_, err := readHeld(key, body)
		refused(err)
		_, err = readEntry(key, body)
		refused(err)
		_, err = readQuarantined(key, body)
		refused(err)
		d, err := readDelivery(inDeliveries, key, body)
		refused(err)
		if err != nil {
			return
		}
		passed, err := d.passed(inDeliveries, key)
		refused(err)
		if err != nil {
			return
		}
		d.Effect = passed.Effect
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		again, err := readDelivery(inDeliveries, key, text)
		if err != nil {
			t.Fatalf("%s was read and cannot be read again: %v", text, err)
		}
		if _, err := again.passed(inDeliveries, key); err != nil {
			t.Fatalf("%s was read and cannot be passed again: %v", text, err)
		}
	})
}
