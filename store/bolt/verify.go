package bolt

import (
	"bytes"
	"context"
	"encoding/binary"

	"go.etcd.io/bbolt"
)

// Verify reads every record and reports the first that is damaged, and the
// first journal entry that does not follow from the one before it.
func (s *Store) Verify(ctx context.Context) error {
	var link []byte // hash of the journal's last entry read so far
	err := s.view(ctx, func(t *bbolt.Tx) error {
		cut, err := getCut(t)
		link = cut.hash
		return err
	})
	if err != nil {
		return err
	}
	for _, bucket := range buckets {
		for from := []byte(nil); ; {
			var err error
			if from, err = s.verifyChunk(ctx, bucket, from, &link); err != nil {
				return err
			}
			if from == nil {
				break
			}
		}
	}
	return nil
}

// verifyChunk checks records from key from on and returns the key to go on at,
// nil when there is none.
func (s *Store) verifyChunk(ctx context.Context, bucket string, from []byte, link *[]byte) (next []byte, err error) {
	err = s.view(ctx, func(t *bbolt.Tx) error {
		c := t.Bucket([]byte(bucket)).Cursor()
		key, record := c.Seek(from)
		for read := 0; key != nil; key, record = c.Next() {
			if read++; read > chunk {
				next = bytes.Clone(key)
				return nil
			}
			body, err := unseal(bucket, key, record)
			if err != nil {
				return err
			}
			if bucket == inJournal {
				if err := follows(link, key, body); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return next, err
}

// follows checks one journal entry against the hash of the one before it.
func follows(link *[]byte, key, body []byte) error {
	if len(body) < hashSize || len(key) != 8 {
		return damaged(inJournal, key, "it is cut short")
	}
	if hash := chain(*link, binary.BigEndian.Uint64(key), body[hashSize:]); !bytes.Equal(hash, body[:hashSize]) {
		return damaged(inJournal, key, "it does not follow from the entry before it")
	}
	*link = bytes.Clone(body[:hashSize])
	return nil
}
