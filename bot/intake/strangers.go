package intake

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"rehome/policy"
)

// members are the names that an object may have, folded, and what is in those
// that hold objects; nil where any name may stand.
type members map[string]known

type known struct {
	name   string // as it is written
	inside members
}

// violationMembers are those of the canonical violation, with those that its
// schema has and that nothing here has a use for.
var violationMembers = func() members {
	all := membersOf(reflect.TypeFor[policy.Violation]())
	for _, name := range []string{"description", "raw"} {
		all[fold(name)] = known{name: name}
	}
	all["app"].inside["signinaudience"] = known{name: "signInAudience"}
	for _, name := range []string{"customKeyIdentifier", "issuer", "origin"} {
		all["credential"].inside[fold(name)] = known{name: name}
	}
	return all
}()

func membersOf(t reflect.Type) members {
	all := members{}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		k := known{name: name}
		if f.Type.Kind() == reflect.Struct && f.Type.PkgPath() == t.PkgPath() {
			k.inside = membersOf(f.Type)
		}
		all[fold(name)] = k
	}
	return all
}

// strangers notes each member that an object should not have: a field whose name
// has a slip is otherwise lost without a word.
func (f fields) strangers(all members) {
	var strange []string
	for folded, m := range f.o {
		k, ok := all[folded]
		switch {
		case !ok && m.value != nil:
			strange = append(strange, folded)
		case k.inside != nil:
			if inside, is := m.value.(object); is {
				fields{f.reading, f.path(k.name), inside}.strangers(k.inside)
			}
		}
	}
	slices.Sort(strange)
	for _, folded := range strange {
		f.note(join(f.at, f.o[folded].name), "is no field of a violation and was not read"+all.like(folded))
	}
}

// like suggests the one name that a folded one may have been meant for, or
// nothing: one that begins like it or ends like it.
func (all members) like(folded string) string {
	var near []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if len(folded) > 1 && (strings.HasPrefix(name, folded) || strings.HasPrefix(folded, name) || strings.HasSuffix(name, folded)) {
			near = append(near, all[name].name)
		}
	}
	if len(near) != 1 {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", near[0])
}
