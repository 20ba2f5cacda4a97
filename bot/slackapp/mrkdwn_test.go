package slackapp

import (
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"rehome/conversation"
	"rehome/policy"
)

func TestWordsAreShownLetterForLetter(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain words, 100% of them", "plain words, 100% of them"},
		{"R&D <b> a > b", "R&amp;D &lt;b&gt; a &gt; b"},
		{"contoso_payroll_v2", "contoso_payroll_v2"},
		{"*bold*", zeroWidth + "*" + zeroWidth + "bold" + zeroWidth + "*" + zeroWidth},
		{"a `b` c", "a 'b' c"},
		{"> quoted", zeroWidth + "&gt; quoted"},
		{"call @here, not kai@contoso.example", "call @" + zeroWidth + "here, not kai@contoso.example"},
		{":tada: at 12:30: go", ":" + zeroWidth + "tada: at 12:30: go"},
		{"two\nlines\tand\u2028more", "two lines and more"},
		{"abc\u202edcba\u200b\ufeff\u0007", "abcdcba"},
		{"bad \xff byte", "bad \uFFFD byte"},
		{"\U0001F468\u200d\U0001F4BB stays", "\U0001F468\u200d\U0001F4BB stays"},
	} {
		if got := string(words(c.in)); got != c.want {
			t.Errorf("words(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

// TestWhatIsCleanIsLeftAlone: the quick look at a text finds all that the
// thorough one would change.
func TestWhatIsCleanIsLeftAlone(t *testing.T) {
	var try func(s string, more int)
	try = func(s string, more int) {
		if got, want := clean(s), strings.Join(strings.Fields(tidy(s)), " "); got != want {
			t.Errorf("clean(%q) = %q, want %q", s, got, want)
		}
		if more > 0 {
			for _, c := range []string{"a", "é", " ", "\n", "\u00a0", "\u200b", "\u200d", "\x7f", "\xff"} {
				try(s+c, more-1)
			}
		}
	}
	try("", 5)
}

func TestCodeHoldsAnything(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"https://x.vault.azure.net", "`https://x.vault.azure.net`"},
		{"a`b`c", "`a'b'c`"},
		{" ", "`(empty)`"},
		{"<!channel>", "`&lt;!channel&gt;`"},
		{strings.Repeat("x", 400), "`" + strings.Repeat("x", maxValue-7) + "… (cut)`"},
	} {
		if got := string(code(c.in)); got != c.want {
			t.Errorf("code(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

func TestOnlyHTTPAddressesBecomeLinks(t *testing.T) {
	for _, c := range []struct{ address, want string }{
		{"https://contoso.example/a?b=1&c=2", "<https://contoso.example/a?b=1&amp;c=2|T>"},
		{"http://contoso.example", "<http://contoso.example|T>"},
		{"https://contoso.example/<!channel>|x>", "<https://contoso.example/%3C%21channel%3E%7Cx%3E|T>"},
		{"javascript:alert(1)", "T (`javascript:alert(1)`)"},
		{"//contoso.example", "T (`//contoso.example`)"},
		{"https:///nohost", "T (`https:///nohost`)"},
		{"ask the owners", "T (`ask the owners`)"},
	} {
		if got := string(link("T", c.address)); got != c.want {
			t.Errorf("link(%q) = %q, want %q", c.address, got, c.want)
		}
	}
}

// TestABareAddressIsItsOwnLink: what is linked without being parsed is what
// parsing and escaping would have made of it.
func TestABareAddressIsItsOwnLink(t *testing.T) {
	bare := 0
	var try func(address string, more int)
	try = func(address string, more int) {
		if isBareAddress(address) {
			bare++
			u, err := url.Parse(address)
			if err != nil || u.Host == "" || linkEscaper.Replace(tidy(u.String())) != address {
				t.Errorf("%q is not bare: %v, %v", address, u, err)
			}
		}
		if more > 0 {
			for _, c := range "aA0-._/?=#%:@&<|" {
				try(address+string(c), more-1)
			}
		}
	}
	try("https://", 4)
	if bare == 0 {
		t.Error("none was tried")
	}
}

func TestOnlyUserIDsMention(t *testing.T) {
	for in, want := range map[string]markup{"U123ABC": "<@U123ABC>", "W1": "<@W1>", "!channel": "`!channel`", "U1> <!here": "`U1&gt; &lt;!here`", "": "`(empty)`", "C123": "`C123`"} {
		if got := mention(in); got != want {
			t.Errorf("mention(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestWhatWasTypedComesBackFromSlacksEscapes(t *testing.T) {
	for in, want := range map[string]string{
		"<https://x.vault.azure.net|x.vault.azure.net> 3P": "https://x.vault.azure.net 3P",
		"<https://x.vault.azure.net/a?b=1&amp;c=2>":        "https://x.vault.azure.net/a?b=1&c=2",
		"tell <@U1|alice> in <#C1|triage>":                 "tell alice in triage",
		"<@U1> <!here> 1P &amp; 3P &lt;ok&gt;":             "1P & 3P <ok>",
		"<mailto:kai@contoso.example|kai@contoso.example>": "kai@contoso.example",
		"a < b":                            "a < b",
		"<!date^1392734382^{date}|Feb 18>": "Feb 18",
	} {
		if got := typed(in); got != want {
			t.Errorf("typed(%q) = %q, want %q", in, got, want)
		}
	}
}

// sequences are all that may stand in angle brackets, given that links lead to
// contoso.example and people are the two of the tests.
var allowed = regexp.MustCompile(`^(?:@U000000000[12]|!date\^[0-9]+\^\{date_short_pretty\}\|[0-9A-Za-z ]+|https://contoso\.example/[^<>|\s]*\|[^<>|]*)$`)

// obeys reports what is wrong with mrkdwn of ours, "" for nothing.
func obeys(s string) string {
	rest := s
	for {
		_, after, ok := strings.Cut(rest, "<")
		if !ok {
			break
		}
		inside, tail, ok := strings.Cut(after, ">")
		if !ok || !allowed.MatchString(inside) {
			return "a sequence that is not ours: <" + inside
		}
		rest = tail
	}
	if strings.Count(s, "<") != strings.Count(s, ">") {
		return "a stray >"
	}
	if strings.Count(s, "`")%2 != 0 {
		return "a code span that is not closed"
	}
	for _, r := range s {
		if r != '\n' && unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control) {
			return "an invisible character: " + string(r)
		}
	}
	if !utf8.ValidString(s) {
		return "broken UTF-8"
	}
	return ""
}

// FuzzNothingFromOutsideFormats puts a string wherever outside text can stand
// and looks at what comes out with an eye of its own.
func FuzzNothingFromOutsideFormats(f *testing.F) {
	for _, s := range []string{nasty, "", "`", "```", "<", ">", "&", "*", "a*b*", "_x_", "~", "\x00", "\xff", "<@U0000000002>", strings.Repeat("*<`", 2000), strings.Repeat("界", 5000), "\u200b*\u200b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range string(words(s)) {
			if r == '<' || r == '>' || r == '`' {
				t.Fatalf("words(%q) = %q", s, words(s))
			}
		}
		if w := string(words(s)); formats(w) {
			t.Fatalf("words(%q) = %q formats", s, w)
		}
		if c := string(code(s)); strings.Count(c, "`") != 2 || strings.Contains(c, "\n") {
			t.Fatalf("code(%q) = %q", s, c)
		}
		for name, card := range outsideCards(s) {
			blocks, text := render(card, marker{"RH-1", "q1", "0123456789abcdef"})
			if why := obeys(text); why != "" {
				t.Fatalf("%s: %s\n%s", name, why, text)
			}
			if n := utf8.RuneCountInString(text); n > maxTopLevel || n == 0 {
				t.Fatalf("%s: %d characters of text", name, n)
			}
			if len(blocks) > maxBlocks {
				t.Fatalf("%s: %d blocks", name, len(blocks))
			}
			for _, o := range textObjects(t, blocks) {
				if o.Kind == "mrkdwn" {
					if why := obeys(o.Text); why != "" {
						t.Fatalf("%s: %s\n%s", name, why, o.Text)
					}
					if !o.Verbatim {
						t.Fatalf("%s: Slack may link what merely stands in %q", name, o.Text)
					}
				} else if strings.ContainsAny(o.Text, "<>") {
					t.Fatalf("%s: raw brackets in %q", name, o.Text)
				}
				if n := utf8.RuneCountInString(o.Text); n == 0 || n > maxTextObject {
					t.Fatalf("%s: a text object of %d characters", name, n)
				}
			}
		}
	})
}

// formats reports whether a formatting character stands where Slack might take
// it for one: at the edge of a word and not between zero-width spaces.
func formats(s string) bool {
	for i, r := range s {
		if r != '*' && r != '_' && r != '~' || insideWord(s, i) {
			continue
		}
		if !strings.HasSuffix(s[:i], zeroWidth) || !strings.HasPrefix(s[i+1:], zeroWidth) {
			return true
		}
	}
	return false
}

// outsideCards have s wherever it could come from outside.
func outsideCards(s string) map[string]conversation.Card {
	text := policy.Text{{Text: "We say: "}, {Text: s}, {Kind: policy.Value, Text: s}, {Kind: policy.Break}, {Kind: policy.Code, Text: s}, {Kind: policy.Bullet}, {Kind: policy.Bold, Text: s}, {Kind: policy.Block, Text: s}, {Kind: policy.Linked, Text: s, URL: "https://contoso.example/" + s}, {Kind: policy.Who, Text: alice}}
	choice := policy.Choice{Value: "v", Label: "x" + s, Hint: s}
	need := policy.Need{Prompt: s, Why: s, Choices: []policy.Choice{choice, choice}}
	many := need
	many.Choices = []policy.Choice{choice, choice, choice, choice, choice, choice}
	by := conversation.Person{ID: bob}
	return map[string]conversation.Card{
		"root":     conversation.Root{ID: "RH-1", Title: s, App: s, AppID: s, OwnerTo: s, Source: s, Status: text, Progress: s, Facts: []policy.Fact{{Name: policy.FactName(s), Value: s, From: policy.FromAlert, Why: s}}, Links: []policy.Link{{Title: s, URL: "https://contoso.example/" + s}}},
		"open":     conversation.Question{ID: "RH-1", Number: 1, State: conversation.Open, Need: need, Chosen: choice},
		"select":   conversation.Question{ID: "RH-1", Number: 1, State: conversation.Open, Need: many},
		"answered": conversation.Question{ID: "RH-1", Number: 1, State: conversation.Answered, Need: need, Chosen: choice, By: by},
		"fallen":   conversation.Question{ID: "RH-1", Number: 1, State: conversation.Fallen, Need: need, Chosen: choice, Why: text},
		"waiting":  conversation.Question{ID: "RH-1", Number: 1, State: conversation.Waiting, Need: need, Why: text},
		"advice":   conversation.Advice{ID: "RH-1", Number: 1, Part: 1, Parts: 2, Headline: s, Change: true, Sections: []conversation.Section{{Heading: s, Number: 1, Gate: true, Text: text}, {Heading: s, Warning: true, Text: text, Links: []policy.Link{{Title: s, URL: s}}}}},
		"gone":     conversation.Advice{ID: "RH-1", Number: 1, Part: 1, Parts: 2, Superseded: text},
		"remark":   conversation.Remark{ID: "RH-1", Text: text},
	}
}

type textObject struct {
	Kind     string
	Text     string
	Verbatim bool
}

// textObjects finds every text object in blocks as they go over the wire.
func textObjects(t *testing.T, blocks any) []textObject {
	b, err := json.Marshal(blocks)
	check(t, err)
	var v any
	check(t, json.Unmarshal(b, &v))
	var out []textObject
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			kind, _ := v["type"].(string)
			if text, ok := v["text"].(string); ok && (kind == "mrkdwn" || kind == "plain_text") {
				verbatim, _ := v["verbatim"].(bool)
				out = append(out, textObject{kind, text, verbatim})
			}
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(v)
	return out
}
