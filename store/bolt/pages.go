package bolt

import (
	"encoding/binary"
	"fmt"
	"os"

	"go.etcd.io/bbolt"
)

// Whether the pages of a file form a tree, found out by reading the file and not
// through bbolt: what is damaged can send bbolt's cursors and its own check in
// circles, or through four billion pages that are not there, and neither can be
// stopped.
//
//	page     id 8 │ flags 2 │ count 2 │ overflow 4 │ elements
//	meta     magic 4 │ version 4 │ page size 4 │ flags 4 │ root 16 │ free list 8 │ pages 8 │ transaction 8 │ sum 8
//	free     page 8; with a count of 65535, the real one comes first
//	branch   pos 4 │ key size 4 │ child 8
//	leaf     flags 4 │ pos 4 │ key size 4 │ value size 4
//	bucket   root 8 │ sequence 8, as a leaf's value; with a root of 0, its page follows
//
// Numbers are in the machine's own order; pos counts from its element on.
const (
	pageHeader   = 16
	elementSize  = 16
	bucketHeader = 16

	isBranch   = 0x01 // flag of a page
	isLeaf     = 0x02
	isFreeList = 0x10
	isBucket   = 0x01 // flag of a leaf's element

	manyFree = 0xffff // count of a list of free pages that says elsewhere how many
)

// pages walks over the pages of a file.
type pages struct {
	file *os.File
	size uint64 // of a page
	end  uint64 // the first page that is not there
	seen map[uint64]bool
}

// checkTree returns what is wrong with the pages that a transaction reads.
func checkTree(t *bbolt.Tx, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	size := uint64(t.DB().Info().PageSize) //nolint:gosec // a few KiB
	p := pages{file: file, size: size, end: uint64(t.Size()) / size, seen: map[uint64]bool{}}
	err = p.walk(uint64(t.Cursor().Bucket().Root()))
	if err == nil {
		err = p.freeList(uint64(t.ID())) //nolint:gosec // counted from 0
	}
	if err != nil {
		return damagedFile(path, err)
	}
	return nil
}

// freeList reads the list of free pages that a transaction left.
func (p *pages) freeList(transaction uint64) error {
	meta := make([]byte, pageHeader+64)
	for at := range int64(2) {
		if _, err := p.file.ReadAt(meta, at*int64(p.size)); err != nil { //nolint:gosec // a few KiB
			return err
		}
		if binary.NativeEndian.Uint64(meta[pageHeader+48:]) != transaction {
			continue
		}
		id := binary.NativeEndian.Uint64(meta[pageHeader+32:])
		page, flags, count, err := p.read(id, 8)
		if err != nil {
			return err
		}
		if flags != isFreeList {
			return fmt.Errorf("page %d is not the list of free pages", id)
		}
		if count != manyFree {
			return nil
		}
		if n := binary.NativeEndian.Uint64(page[pageHeader:]); n > uint64(len(page)-pageHeader)/8-1 {
			return fmt.Errorf("page %d lists %d free pages, for which it has no room", id, n)
		}
		return nil
	}
	return fmt.Errorf("no meta page is of transaction %d", transaction)
}

// walk follows a page and all below it.
func (p *pages) walk(id uint64) error {
	page, flags, count, err := p.read(id, elementSize)
	if err != nil {
		return err
	}
	return p.elements(page, flags, count, fmt.Sprintf("page %d", id))
}

// elements follows the elements of a page, or of a small bucket that is within
// one, to all below them.
func (p *pages) elements(page []byte, flags, count int, name string) error {
	if flags != isBranch && flags != isLeaf {
		return fmt.Errorf("%s is neither branch nor leaf", name)
	}
	for i := range count {
		at := pageHeader + i*elementSize
		element := page[at : at+elementSize]
		if flags == isBranch {
			if _, err := part(page, at, element[0:], element[4:], 0); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if err := p.walk(binary.NativeEndian.Uint64(element[8:])); err != nil {
				return err
			}
			continue
		}
		value, err := part(page, at, element[4:], element[8:], binary.NativeEndian.Uint32(element[12:]))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if binary.NativeEndian.Uint32(element)&isBucket == 0 {
			continue
		}
		if err := p.bucket(value, name); err != nil {
			return err
		}
	}
	return nil
}

// bucket follows a bucket that a page has: to its own pages, or through the page
// that a small one has in its place.
func (p *pages) bucket(value []byte, name string) error {
	if len(value) < bucketHeader {
		return fmt.Errorf("%s has a bucket that is cut short", name)
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return p.walk(root)
	}
	page := value[bucketHeader:]
	if len(page) < pageHeader {
		return fmt.Errorf("%s has a small bucket that is cut short", name)
	}
	flags, count := kindOf(page)
	if flags != isLeaf {
		return fmt.Errorf("%s has a small bucket that is not a leaf", name)
	}
	if pageHeader+count*elementSize > len(page) {
		return fmt.Errorf("%s has a small bucket with %d elements, for which it has no room", name, count)
	}
	return p.elements(page, flags, count, "a small bucket in "+name)
}

// kindOf returns the flags of a page, and how many elements it has.
func kindOf(page []byte) (flags, count int) {
	return int(binary.NativeEndian.Uint16(page[8:])), int(binary.NativeEndian.Uint16(page[10:]))
}

// read reads a page of elements of a size with what it overflows into, which
// nothing else may use.
func (p *pages) read(id uint64, element int) (page []byte, flags, count int, err error) {
	if id < 2 || id >= p.end {
		return nil, 0, 0, fmt.Errorf("page %d is named, and there are %d", id, p.end)
	}
	header := make([]byte, pageHeader)
	if _, err := p.file.ReadAt(header, int64(id*p.size)); err != nil { //nolint:gosec // less than the file's size
		return nil, 0, 0, fmt.Errorf("page %d: %w", id, err)
	}
	if is := binary.NativeEndian.Uint64(header); is != id {
		return nil, 0, 0, fmt.Errorf("page %d calls itself %d", id, is)
	}
	more := uint64(binary.NativeEndian.Uint32(header[12:]))
	if id+more >= p.end {
		return nil, 0, 0, fmt.Errorf("page %d goes on for %d pages, and there are %d", id, more, p.end)
	}
	for n := id; n <= id+more; n++ {
		if p.seen[n] {
			return nil, 0, 0, fmt.Errorf("page %d is used twice", n)
		}
		p.seen[n] = true
	}
	page = make([]byte, (1+more)*p.size)
	if _, err := p.file.ReadAt(page, int64(id*p.size)); err != nil { //nolint:gosec // less than the file's size
		return nil, 0, 0, fmt.Errorf("page %d: %w", id, err)
	}
	flags, count = kindOf(header)
	if pageHeader+count*element > len(page) && (flags != isFreeList || count != manyFree) {
		return nil, 0, 0, fmt.Errorf("page %d has %d elements, for which it has no room", id, count)
	}
	return page, flags, count, nil
}

// part returns the value of the element at a place of a page, behind its key.
func part(page []byte, at int, pos, keySize []byte, valueSize uint32) ([]byte, error) {
	from := uint64(at) + uint64(binary.NativeEndian.Uint32(pos)) + uint64(binary.NativeEndian.Uint32(keySize)) //nolint:gosec // a place in a page
	to := from + uint64(valueSize)
	if to > uint64(len(page)) {
		return nil, fmt.Errorf("an element ends at %d of %d bytes", to, len(page))
	}
	return page[from:to], nil
}
