package slackapp

import (
	"regexp"
	"slices"
	"strings"

	"rehome/policy"
)

// meant guesses what somebody who was not understood may have wanted to write,
// and says it. Nothing is done about it: they write it anew. It returns nothing
// when no guess is near.
func meant(text string, titles []policy.Title) []markup {
	if part := partOfID.FindString(text); part != "" && !wholeID.MatchString(text) {
		return []markup{code(part), " looks like a part of an app id. An app id has 36 characters; please copy all of it."}
	}
	first, rest, _ := strings.Cut(text, " ")
	if near := nearest(first, []string{"help", "list", "show", "policy", "digest"}); near != "" && strings.Count(rest, " ") < 2 {
		return []markup{"Did you mean ", code(strings.TrimSpace("/rehome " + near + " " + strings.TrimSpace(rest))), "?"}
	}
	var known []string
	for _, t := range titles {
		known = append(known, t.Text)
	}
	if near := nearest(text, known); near != "" {
		return []markup{"Did you mean ", code("/rehome " + near), "?"}
	}
	return nil
}

var (
	partOfID = regexp.MustCompile(`(?i)\b[0-9a-f]{8}-[0-9a-f]{1,4}(-[0-9a-f-]{0,22})?\b`)
	wholeID  = regexp.MustCompile(`(?i)\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b`)
)

// nearest returns the one of several that differs from s in fewest letters, if
// those are few: one in a short word, one in six of a longer text.
func nearest(s string, of []string) string {
	const longest = 200 // longer ones are no slip of a title
	if len(s) > longest {
		return ""
	}
	best, least := "", 0
	for _, o := range of {
		if n := distance(strings.ToLower(s), strings.ToLower(o)); n <= max(1, len(o)/6) && (best == "" || n < least) {
			best, least = o, n
		}
	}
	return best
}

// distance is how many letters must be put in, left out, changed or swapped with
// the next to make one text of the other.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	var before []int
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := range x {
		next := append(make([]int, 0, len(y)+1), i+1)
		for j := range y {
			n := min(row[j+1], next[j]) + 1
			if x[i] == y[j] {
				n = min(n, row[j])
			} else {
				n = min(n, row[j]+1)
			}
			if i > 0 && j > 0 && x[i] == y[j-1] && x[i-1] == y[j] {
				n = min(n, before[j-1]+1)
			}
			next = append(next, n)
		}
		before, row = row, next
	}
	return row[len(y)]
}

// isGreeting reports whether somebody only said hello.
func isGreeting(text string) bool {
	return slices.Contains([]string{"hello", "hi", "hey", "hi there", "good morning"}, strings.ToLower(strings.Trim(text, " .,!")))
}
