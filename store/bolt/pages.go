package bolt

import (
	"encoding/binary"
	"fmt"
	"os"

	"go.etcd.io/bbolt"
)

// The tree of pages. bbolt follows it without looking where it has been: a page
// that an earlier write left where a later one was lost can lead back to one
// above it, and then bbolt's readers, and its own check, go round until the
// memory is used up. So the tree is walked once here before bbolt does.
//
//	page    id 8 │ flags 2 │ elements 2 │ pages after the first 4 │ elements …
//	branch  key's place 4 │ its size 4 │ page 8
//	leaf    flags 4 │ key's place 4, from the element │ its size 4 │ value's 4
//	value   of a bucket: page 8, 0 when the bucket is in the value │ sequence 8
//
// Numbers are in the machine's own order.
const (
	pageHeader  = 16
	pageElement = 16
	branchPage  = 0x01
	leafPage    = 0x02
	bucketFlag  = 0x01 // of a leaf's element
)

// tree is a walk over the pages of a file.
type tree struct {
	file *os.File
	size int64  // of a page
	seen []bool // by page
}

// checkTree sees that every page is reached once at most, from the root down.
func checkTree(t *bbolt.Tx, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	size := int64(t.DB().Info().PageSize)
	w := tree{file: file, size: size, seen: make([]bool, t.Size()/size)}
	if err := w.visit(uint64(t.Cursor().Bucket().RootPage())); err != nil {
		return damagedFile(path, err)
	}
	return nil
}

// visit walks a page and all below it. It goes no deeper than there are pages.
func (w *tree) visit(id uint64) error {
	page, err := w.read(id)
	if err != nil {
		return err
	}
	flags, count := binary.NativeEndian.Uint16(page[8:]), int(binary.NativeEndian.Uint16(page[10:]))
	if flags != branchPage && flags != leafPage || pageHeader+count*pageElement > len(page) {
		return fmt.Errorf("page %d is no part of the tree", id)
	}
	for i := range count {
		below, err := child(page, flags, pageHeader+i*pageElement)
		if err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
		if below == 0 {
			continue
		}
		if err := w.visit(below); err != nil {
			return err
		}
	}
	return nil
}

// child returns the page that an element of a page leads to, or 0.
func child(page []byte, flags uint16, at int) (uint64, error) {
	element := page[at:]
	if flags == branchPage {
		return binary.NativeEndian.Uint64(element[8:]), nil
	}
	word := func(i int) uint64 { return uint64(binary.NativeEndian.Uint32(element[4*i:])) }
	if word(0)&bucketFlag == 0 {
		return 0, nil
	}
	value := uint64(at) + word(1) + word(2)
	if value+8 > uint64(len(page)) {
		return 0, fmt.Errorf("element at %d leads out of it", at)
	}
	return binary.NativeEndian.Uint64(page[value:]), nil
}

// read returns a page, with those that belong to it, the first time it is asked
// for.
func (w *tree) read(id uint64) ([]byte, error) {
	pages := uint64(1)
	for {
		if id < 2 || id+pages > uint64(len(w.seen)) || id+pages < id {
			return nil, fmt.Errorf("page %d is named and is not there", id)
		}
		page := make([]byte, int64(pages)*w.size)
		if _, err := w.file.ReadAt(page, int64(id)*w.size); err != nil {
			return nil, err
		}
		if more := uint64(binary.NativeEndian.Uint32(page[12:])); more+1 > pages {
			pages = more + 1
			continue
		}
		for i := range pages {
			if w.seen[id+i] {
				return nil, fmt.Errorf("page %d is named twice", id+i)
			}
			w.seen[id+i] = true
		}
		return page, nil
	}
}
