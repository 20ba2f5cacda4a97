package conversation_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"rehome/conversation"
	"rehome/policy"
)

var update = flag.Bool("update", false, "rewrite the transcripts; read the difference before you keep it")

// TestTranscripts plays testdata/*.txt. A line that starts with ">" is what a
// person did; the lines under it are all that the bot did about it, in order.
// `go test ./conversation -update` writes the bot's lines anew.
//
//	> alice opens in C1: words…            /rehome words…
//	> alert in C1: key=value …             an alert; the fields are those of alertOf
//	> alice presses 3P on q1               a button or a pick
//	> alice presses Change on q1           or on r1
//	> alice types in the thread: words     "to the bot" instead of "in the thread" for a mention
//	> somebody deletes q1
//	> C1 is closed to us
//	> show r1.1                            prints a card in full
//	> the directory has carol, bob; 2: 1 left
//	> the directory has ; no answer for now   people are told without it; "at last" ends that
//	> in RH-7 carol said it is not hers       another conversation about the app; or "is bob's"
//	> it is noted in RH-8, RH-9 for carol     what came of passing a correction on
//	> carol is told                        or "on a list"
//	> carol cannot be told
//	> carol says it is not hers
//	> carol says it is bob's
//	> bob takes it                         or "takes it over", "hands it to carol", "lets go of it", or "joins"
//	> the feed says resolved               or "active cloud=Fairfax", or "resolved and no more"
//	> the policy has file: old → new       it is another one now, with this change in one file
//	> the tenant map calls id name         it knows one tenant more, or otherwise
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s reads differently now (-want +got):\n%s", file, diff)
			}
		})
	}
}

// A stage is one conversation and the threads it is shown in.
type stage struct {
	t    *testing.T
	p    *policy.Policy
	c    conversation.Conversation
	now  time.Time
	ts   int
	out  *strings.Builder
	deaf map[string]bool // channels that cannot be posted in

	directory bool // there is one to ask
	files     fstest.MapFS
	tenants   map[string]policy.TenantEntry
}

func newStage(t *testing.T, out *strings.Builder) *stage {
	tenants, err := policy.ParseTenants([]byte(tenantsForTests))
	if err != nil {
		t.Fatal(err)
	}
	return &stage{
		t: t, p: policy.Default().WithTenants(tenants), out: out, deaf: map[string]bool{},
		now: time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC), c: conversation.Conversation{ID: "RH-1"},
		files: fstest.MapFS{}, tenants: tenants,
	}
}

const tenantsForTests = `{
 "a0000000-0000-4000-8000-0000000000a2": {"name": "PME", "cloud": "Public"},
 "a0000000-0000-4000-8000-0000000000c1": {"name": "USME", "cloud": "Fairfax"},
 "a0000000-0000-4000-8000-0000000000f0": {"name": "Corp", "cloud": "Public", "nonProd": true}
}`

func play(t *testing.T, script string) string {
	var out strings.Builder
	s := newStage(t, &out)
	for line := range strings.Lines(script) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, ">"):
			out.WriteString(line + "\n")
			s.do(strings.TrimSpace(line[1:]))
		case strings.HasPrefix(line, "#"), line == "":
			out.WriteString(line + "\n")
		}
	}
	return out.String()
}

var (
	opens    = regexp.MustCompile(`^(\w+) opens in (\w+): (.*)$`)
	alert    = regexp.MustCompile(`^alert in (\w+): (.*)$`)
	presses  = regexp.MustCompile(`^(\w+) presses (.+) on (q|r)(\d+)(?: in thread (\d))?$`)
	types    = regexp.MustCompile(`^(\w+) types (in the thread|to the bot): (.*)$`)
	deletes  = regexp.MustCompile(`^somebody deletes (\S+)$`)
	closed   = regexp.MustCompile(`^(\w+) is closed to us$`)
	looks    = regexp.MustCompile(`^the directory has ([\w, ]*); (.*?)(?: (for now|at last))?$`)
	isTold   = regexp.MustCompile(`^(\w+) is told( on a list)?$`)
	notTold  = regexp.MustCompile(`^(\w+) cannot be told$`)
	denies   = regexp.MustCompile(`^(\w+) says it is not (?:hers|his)$`)
	names    = regexp.MustCompile(`^(\w+) says it is (\w+)'s$`)
	corrects = regexp.MustCompile(`^in (RH-\d+) (\w+) said it is (?:not hers|not his|(\w+)'s)$`)
	noted    = regexp.MustCompile(`^it is noted in ([RH\d, -]+) for (\w+)$`)
	takes    = regexp.MustCompile(`^(\w+) takes it( over)?$`)
	letsGo   = regexp.MustCompile(`^(\w+) lets go of it$`)
	hands    = regexp.MustCompile(`^(\w+) hands it to (\w+)$`)
	joins    = regexp.MustCompile(`^(\w+) joins$`)
	feeds    = regexp.MustCompile(`^the feed says (\w+)(?: (.*))?$`)
	rules    = regexp.MustCompile(`^the policy has (\S+): (.*) → (.*)$`)
	maps     = regexp.MustCompile(`^the tenant map calls (\S+) (\w+)$`)
	prints   = regexp.MustCompile(`^show (\S+)$`)
)

func (s *stage) do(line string) {
	s.now = s.now.Add(time.Minute)
	switch {
	case opens.MatchString(line):
		m := opens.FindStringSubmatch(line)
		facts, unknown := s.p.Read(m[3], "typed with /rehome")
		v := policy.Violation{Title: facts.Value(policy.Violated), Source: policy.ViolationFrom{System: "slack"}}
		s.happen(conversation.Opened{By: person(m[1]), Violation: v, Facts: facts, Unknown: unknown, In: conversation.Place{Channel: m[2]}})
	case alert.MatchString(line):
		m := alert.FindStringSubmatch(line)
		v := alertOf(s.t, m[2])
		s.happen(conversation.Opened{Violation: v, Facts: s.p.Infer(v), In: conversation.Place{Channel: m[1]}, Lookup: s.directory})
	case presses.MatchString(line):
		m := presses.FindStringSubmatch(line)
		n, _ := strconv.Atoi(m[4])
		in, _ := strconv.Atoi(m[5])
		switch {
		case m[2] == "Change" && m[3] == "r":
			s.happen(conversation.Revised{By: person(m[1]), In: in})
		case m[2] == "Change":
			s.happen(conversation.Revised{By: person(m[1]), In: in, Question: n})
		default:
			s.happen(conversation.Chosen{By: person(m[1]), In: in, Question: n, Value: m[2]})
		}
	case types.MatchString(line):
		m := types.FindStringSubmatch(line)
		s.happen(conversation.Said{By: person(m[1]), Text: m[3], Addressed: m[2] == "to the bot"})
	case line == "there is a directory":
		s.directory = true
	case looks.MatchString(line):
		m := looks.FindStringSubmatch(line)
		found := conversation.Found{Hops: []conversation.Hop{{Where: "owners of the application", Result: m[2]}}, Late: m[3] == "at last"}
		if m[3] == "for now" {
			found.Lack = conversation.LackAnswer
		}
		for name := range strings.FieldsFuncSeq(m[1], func(r rune) bool { return r == ',' || r == ' ' }) {
			found.Owners = append(found.Owners, conversation.Owner{Person: person(name), Via: "owner of the application"})
		}
		s.happen(found)
	case isTold.MatchString(line):
		m := isTold.FindStringSubmatch(line)
		s.happen(conversation.Told{To: person(m[1]), Digest: m[2] != ""})
	case notTold.MatchString(line):
		s.happen(conversation.Unreached{To: person(notTold.FindStringSubmatch(line)[1]), Why: "user_not_found", Report: true})
	case denies.MatchString(line):
		s.happen(conversation.NotMine{By: person(denies.FindStringSubmatch(line)[1])})
	case names.MatchString(line):
		m := names.FindStringSubmatch(line)
		s.happen(conversation.Named{By: person(m[1]), Owner: person(m[2])})
	case corrects.MatchString(line):
		m := corrects.FindStringSubmatch(line)
		said := conversation.Corrected{By: person(m[2]), From: m[1]}
		if m[3] != "" {
			said.Owner = person(m[3])
		}
		s.happen(said)
	case noted.MatchString(line):
		m := noted.FindStringSubmatch(line)
		s.happen(conversation.Passed{By: person(m[2]), To: strings.Split(m[1], ", ")})
	case takes.MatchString(line):
		m := takes.FindStringSubmatch(line)
		s.happen(conversation.Took{By: person(m[1]), To: person(m[1]), Over: m[2] != ""})
	case letsGo.MatchString(line):
		s.happen(conversation.LetGo{By: person(letsGo.FindStringSubmatch(line)[1])})
	case hands.MatchString(line):
		m := hands.FindStringSubmatch(line)
		s.happen(conversation.Took{By: person(m[1]), To: person(m[2]), Over: true})
	case joins.MatchString(line):
		s.happen(conversation.Joined{By: person(joins.FindStringSubmatch(line)[1])})
	case feeds.MatchString(line):
		m := feeds.FindStringSubmatch(line)
		v := s.c.Violation
		if m[2] != "" && m[2] != "and no more" {
			v = alertOf(s.t, m[2])
		}
		if v.Status = m[1]; m[2] == "and no more" {
			v = policy.Violation{ID: v.ID, Source: v.Source, Status: m[1]}
		}
		s.happen(conversation.Seen{Violation: v, Facts: s.p.Infer(v)})
	case rules.MatchString(line):
		m := rules.FindStringSubmatch(line)
		was := string(s.p.Files()[m[1]])
		if !strings.Contains(was, m[2]) {
			s.t.Fatalf("%s has no %q", m[1], m[2])
		}
		s.files[m[1]] = &fstest.MapFile{Data: []byte(strings.ReplaceAll(was, m[2], m[3]))}
		s.rule()
	case maps.MatchString(line):
		m := maps.FindStringSubmatch(line)
		s.tenants[m[1]] = policy.TenantEntry{Name: m[2], Cloud: policy.Public}
		s.rule()
	case deletes.MatchString(line):
		s.happen(conversation.Gone{Card: deletes.FindStringSubmatch(line)[1]})
	case closed.MatchString(line):
		s.deaf[closed.FindStringSubmatch(line)[1]] = true
	case prints.MatchString(line):
		key := prints.FindStringSubmatch(line)[1]
		card, ok := s.c.Card(key, s.now)
		if !ok {
			s.t.Fatalf("there is no card %s", key)
		}
		for l := range strings.Lines(strings.TrimSpace(full(card))) {
			s.out.WriteString("  | " + strings.TrimRight(l, "\n ") + "\n")
		}
	default:
		s.t.Fatalf("the transcript says %q, which is no kind of line", line)
	}
}

// rule starts the bot again with the policy as it is now.
func (s *stage) rule() {
	p, err := policy.Load(s.files)
	if err != nil {
		s.t.Fatal(err)
	}
	s.p = p.WithTenants(s.tenants)
	if s.c.Ruled == s.p.Mark() {
		s.t.Fatal("this changes nothing about the policy")
	}
	s.happen(conversation.Ruled{Facts: s.p.Infer(s.c.Violation)})
}

// happen plays an event and carries its effects out, as the bot would.
func (s *stage) happen(e conversation.Event) {
	queue := []conversation.Event{e}
	for len(queue) > 0 {
		var effects []conversation.Effect
		s.c, effects = conversation.Step(s.p, s.c, queue[0], s.now)
		queue = queue[1:]
		for _, e := range effects {
			if next := s.carryOut(e); next != nil {
				queue = append(queue, next)
			}
		}
	}
}

func (s *stage) carryOut(e conversation.Effect) conversation.Event {
	switch e := e.(type) {
	case conversation.Record:
	case conversation.Lookup:
		if e.Late {
			s.out.WriteString("  (looks again later)\n")
			break
		}
		s.out.WriteString("  (asks the directory)\n")
	case conversation.Spread:
		s.out.WriteString("  (tells the app's other conversations)\n")
	case conversation.Gather:
		fmt.Fprintf(s.out, "  (%s is to be told)\n", e.To.ID)
	case conversation.Report:
		fmt.Fprintf(s.out, "  to the security channel: %s\n", e.Text)
	case conversation.Remember:
		fmt.Fprintf(s.out, "  (remembers %s = %s)\n", e.Key, e.Value)
	case conversation.Tell:
		fmt.Fprintf(s.out, "  to %s alone: %s\n", e.To.ID, e.Text)
	case conversation.Show:
		card, ok := s.c.CardIn(e.In, e.Card, s.now)
		th := s.c.Threads[e.In]
		if !ok || (e.Card != conversation.RootKey && th.RootTS() == "") {
			return nil
		}
		if e.Card == conversation.RootKey && th.RootTS() == "" && s.deaf[th.Channel] {
			fmt.Fprintf(s.out, "  (%s refuses the message)\n", th.Channel)
			return conversation.Unreachable{In: e.In, Card: e.Card, Why: "not_in_channel"}
		}
		shown := th.Shown[e.Card]
		digest := conversation.Digest(card)
		if shown.Digest == digest {
			return nil
		}
		verb := "edits"
		if shown.TS == "" {
			verb = "posts"
			s.ts++
			shown.TS = strconv.Itoa(s.ts)
		}
		fmt.Fprintf(s.out, "  %s %s %s\n", th.Channel, verb, brief(e.Card, card))
		return conversation.Posted{In: e.In, Card: e.Card, TS: shown.TS, Digest: digest}
	}
	return nil
}

func brief(key string, card conversation.Card) string {
	switch c := card.(type) {
	case conversation.Root:
		return "root: " + c.ID + " · " + c.Title + " · " + c.Status.String() + " (" + c.Progress + ")" + standing(c)
	case conversation.Question:
		switch c.State {
		case conversation.Open:
			var choices []string
			for _, ch := range c.Need.Choices {
				mark := ""
				if ch.Suggested {
					mark = "*"
				}
				choices = append(choices, mark+ch.Value)
			}
			held := ""
			if c.Chosen.Value != "" {
				held = "  now: " + c.Chosen.Value
			}
			return key + ": " + c.Need.Prompt + " [" + strings.Join(choices, " | ") + "]" + held
		case conversation.Answered:
			return key + ": ✓ " + c.Chosen.Value + " (" + c.By.ID + ") [Change]"
		case conversation.Fallen:
			return key + ": no longer asked. " + c.Why.String()
		case conversation.Waiting:
			return key + ": waits. " + c.Why.String()
		}
	case conversation.Advice:
		if c.Superseded != nil {
			return key + ": " + c.Superseded.String()
		}
		var steps []string
		for _, s := range c.Sections {
			if s.Number > 0 {
				gate := ""
				if s.Gate {
					gate = " (gate)"
				}
				steps = append(steps, strconv.Itoa(s.Number)+" "+s.Heading+gate)
			}
		}
		return key + ": " + string(c.Outcome) + ", " + c.Headline + orBrackets(strings.Join(steps, "; "))
	case conversation.Remark:
		return key + ": " + c.Text.String()
	}
	return key
}

// standing says who stands where, as the root shows it.
func standing(c conversation.Root) string {
	var out strings.Builder
	for _, o := range c.Known {
		out.WriteString("; " + o.ID + " " + string(o.State))
	}
	if c.Instead.ID != "" {
		out.WriteString("; named instead: " + c.Instead.ID)
	}
	if c.Taken.ID != "" {
		out.WriteString("; taken by " + c.Taken.ID)
	}
	if c.LeftBy.ID != "" {
		out.WriteString("; taken by nobody, " + c.LeftBy.ID + " let go of it")
	}
	return out.String()
}

func orBrackets(s string) string {
	if s == "" {
		return ""
	}
	return " {" + s + "}"
}

func full(card conversation.Card) string {
	a, ok := card.(conversation.Advice)
	if !ok {
		q, ok := card.(conversation.Question)
		if !ok {
			return fmt.Sprint(card)
		}
		return q.Need.Prompt + "\n" + q.Need.Why
	}
	var b strings.Builder
	for _, s := range a.Sections {
		if s.Heading != "" {
			if s.Number > 0 {
				fmt.Fprintf(&b, "%d. ", s.Number)
			}
			b.WriteString(s.Heading + "\n")
		}
		b.WriteString(strings.TrimSpace(s.Text.String()) + "\n")
	}
	return b.String()
}

func person(name string) conversation.Person { return conversation.Person{ID: name} }

// alertOf reads "title=…; app=…" into a violation.
func alertOf(t *testing.T, fields string) policy.Violation {
	v := policy.Violation{ID: "T-1", Source: policy.ViolationFrom{System: "s360"}}
	for f := range strings.SplitSeq(fields, ";") {
		k, val, _ := strings.Cut(strings.TrimSpace(f), "=")
		switch k {
		case "title":
			v.Title = val
		case "app":
			v.App.DisplayName = val
		case "appid":
			v.App.AppID = val
		case "tenantid":
			v.App.TenantID = val
		case "org":
			v.App.OwnerOrg = val
		case "cloud":
			v.App.Cloud = val
		case "party":
			v.App.Party = val
		case "sg":
			v.App.SGOwnerTenant = val
		case "vault":
			v.Cred.Store = policy.KeyStore{Type: "KeyVault", URI: val}
		case "subject":
			v.Cred.SubjectName = val
		case "handoff":
			n, _ := strconv.Atoi(val)
			v.Handoff = policy.Handoff{From: "assist-sg-update", Option: n}
		case "alias":
			v.Owner.Alias = val
		default:
			t.Fatalf("no such field: %q", k)
		}
	}
	return v
}
