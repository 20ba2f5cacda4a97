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
		err := s.eachOf(ctx, bucket, func(key, body []byte) error {
			if bucket == inJournal {
				return follows(&link, key, body)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
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
