package bolt

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Looking at a store changes nothing, whatever state it is in.
func TestInspectLooksAndTouchesNothing(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name, "r.db") }
	make := func(name string, change func(path string)) string {
		path := at(name)
		s, err := Open(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		change(path)
		return path
	}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		path string
		want error
	}{
		"whole":               {make("whole", func(string) {}), nil},
		"without a sentinel":  {make("without", func(p string) { must(os.Remove(p + ".id")) }), nil},
		"none":                {at("none"), fs.ErrNotExist},
		"lost":                {make("lost", func(p string) { must(os.Remove(p)) }), ErrForeign},
		"emptied":             {make("emptied", func(p string) { must(os.Truncate(p, 0)) }), ErrDamaged},
		"cut":                 {make("cut", func(p string) { must(os.Truncate(p, 5000)) }), ErrDamaged},
		"another":             {make("another", func(p string) { must(os.WriteFile(p+".id", []byte("0123\n"), 0o600)) }), ErrForeign},
		"something else":      {make("else", func(p string) { must(os.WriteFile(p, []byte("a letter, and not a store"), 0o600)) }), ErrDamaged},
		"held by a writer":    {make("held", func(p string) { s, err := Open(p, Options{}); must(err); t.Cleanup(func() { _ = s.Close() }) }), ErrLocked},
		"a folder in its way": {filepath.Join(dir, "whole"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			before := listing(t, filepath.Dir(c.path))
			got, err := Inspect(c.path, Options{})
			if name == "a folder in its way" {
				if err == nil {
					t.Error("a folder is taken for a store")
				}
				return
			}
			if !errors.Is(err, c.want) || err == nil && (got.Schema != schema || got.Newest != schema || got.Size == 0) {
				t.Errorf("it says %+v, %v", got, err)
			}
			if after := listing(t, filepath.Dir(c.path)); before != after {
				t.Errorf("there was %s, and now is %s", before, after)
			}
		})
	}
}

func listing(t *testing.T, dir string) (out string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			out += e.Name() + " " + info.ModTime().String() + ";"
		}
	}
	return out
}
