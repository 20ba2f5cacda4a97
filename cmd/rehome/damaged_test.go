package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"

	"github.com/rogpeppe/go-internal/testscript"
)

// damage FILE HOW does to a store's file what disks, people and other versions do.
func damage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: damage FILE HOW")
	}
	path := ts.MkAbs(args[0])
	whole := []byte(ts.ReadFile(args[0]))
	pages := whole[2*os.Getpagesize():] // all but the two that say where the rest is
	switch args[1] {
	case "emptied":
		whole = nil
	case "cut-short":
		whole = whole[:len(whole)/3]
	case "overwritten":
		copy(whole, bytes.Repeat([]byte("no store at all "), len(whole)/16))
	case "zeroed":
		clear(pages)
	case "newer":
		older, newer := schemaRecord(3), schemaRecord(99)
		if !bytes.Contains(whole, older) {
			ts.Fatalf("the store does not say which schema it has")
		}
		whole = bytes.ReplaceAll(whole, older, newer)
	case "gone":
		ts.Check(os.Remove(path))
		return
	default:
		ts.Fatalf("unknown damage %q", args[1])
	}
	ts.Check(os.WriteFile(path, whole, 0o600))
}

// schemaRecord is how a store says which schema it has, behind the key schema:
// version, CRC-32C of bucket, key, version and body, body.
func schemaRecord(n uint64) []byte {
	body := binary.BigEndian.AppendUint64(nil, n)
	sum := crc32.Checksum(fmt.Appendf(nil, "metaschema\x01%s", body), crc32.MakeTable(crc32.Castagnoli))
	return append(binary.BigEndian.AppendUint32([]byte("schema\x01"), sum), body...)
}
