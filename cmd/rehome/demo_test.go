package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rehome/bot/intake"
	"rehome/conversation"
	"rehome/policy"
)

// demoUp starts a demo and waits until it is up.
func demoUp(t *testing.T, in io.Reader, args ...string) (r *running, page browser, store string) {
	t.Helper()
	r = start(t, nil, in, append([]string{"demo", "--listen", "127.0.0.1:0"}, args...)...)
	address := r.expect(`^The workspace is at (http://127\.0\.0\.1:\d+)/$`)[1]
	store = r.expect(`REHOME_STORE=(bolt:\S+) rehome list`)[1]
	return r, browser{t, address, rivera}, store
}

// Somebody opens the page, types a command, answers one question, and has the
// steps with the right cell of the policy table in them.
func TestANewcomerReachesTheRightStepsInTheDemo(t *testing.T) {
	nothingLeft(t)
	r, page, _ := demoUp(t, nil)

	page.send("command", map[string]any{"channel": triage, "command": "/rehome", "text": "1P SG owner AME, Fairfax, cloud-mismatch"})
	root := page.await(triage, "", "RH-7", "cloud mismatches")
	question := page.await(triage, root.TS, "vault exists in the right cloud")
	page.press(triage, question, "Option 2")
	steps := page.await(triage, root.TS, "FairFax + Prod + USME")
	if !strings.Contains(steps.Text, "Private Issuer") {
		t.Errorf("the steps name no issuer:\n%s", steps.Text)
	}
	page.await(triage, root.TS, "no longer in use")

	if code := r.stop(); code != done {
		t.Errorf("Ctrl-C ends it with %d: %s", code, r.err.String())
	}
	r.expect("^Stopped.$")
}

// Somebody pastes the curl line that the demo prints: the channel has the alert,
// its owner, whom the directory names, has it as a direct message, and what is
// answered there ends in the right steps in both places.
func TestAnAlertReachesTheChannelAndTheOwnerOfTheApp(t *testing.T) {
	nothingLeft(t)
	r, page, store := demoUp(t, nil)
	curl := r.expect(`^curl -sS (http://\S+/v1/violations) -H 'Authorization: (Bearer \S+)' -H 'Content-Type: (application/json)' -d '(.*)'$`)
	status, said := postAlert(t, curl[1], curl[2], curl[3], curl[4])
	if status != http.StatusAccepted || !strings.Contains(said, `"conversations":["RH-7"]`) {
		t.Fatalf("%d %s", status, said)
	}
	root := page.await(triage, "", "RH-7", "Contoso Payments Gateway")
	dm := page.awaitDM()
	own := page.await(dm, "", "RH-7", "Contoso Payments Gateway")

	page.choose(dm, own.TS, "3P")
	page.choose(dm, own.TS, "Option A")
	for _, in := range []struct{ channel, thread string }{{dm, own.TS}, {triage, root.TS}} {
		page.await(in.channel, in.thread, "Public, Prod + PME", "Private Issuer")
	}
	if status, said := postAlert(t, curl[1], curl[2], curl[3], curl[4]); status != http.StatusAccepted || !strings.Contains(said, `"duplicates":1`) {
		t.Errorf("the same again: %d %s", status, said)
	}
	if status, said := postAlert(t, curl[1], "Bearer "+strings.Repeat("A", 26), curl[3], curl[4]); status != http.StatusUnauthorized {
		t.Errorf("with another token: %d %s", status, said)
	}

	_, journal, _ := once(map[string]string{"REHOME_STORE": store}, "show", "RH-7")
	if !strings.Contains(journal, "looked for owners in owners of the application: 1, can be told") {
		t.Errorf("it does not say where the owner was found:\n%s", journal)
	}
	if code := r.stop(); code != done {
		t.Errorf("%d: %s", code, r.err.String())
	}
}

// postAlert posts a body as curl would.
func postAlert(t *testing.T, url, authorization, kind, body string) (status int, said string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	req.Header.Set("Authorization", authorization)
	req.Header.Set("Content-Type", kind)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// Each sample shows something else about owners, and where each was looked for
// is in the journal.
func TestTheSamplesShowWhereOwnersAreFound(t *testing.T) {
	_, _, store := demoUp(t, nil)
	env := map[string]string{"REHOME_STORE": store}
	drained(t, env)
	for id, want := range map[string][]string{
		"RH-1": {"owners of the application: 2: 1 can be told, 1 left", "told U0RIVERA1"},
		"RH-2": {"owners of the application: 1, is a service principal", "owners of the service principal: 1, mail hidden: needs User.Read.All", "the alert's owner: 1, can be told", "told U0LINDQV3"},
		"RH-3": {"owners of the application: 2: 1 can be told, 1 not in this workspace", "told U0OKAFOR2"},
		"RH-4": {"owners of the application: none", "the alert's owner: 1, can be told", "told U0RIVERA1"},
		"RH-6": {"owners of the application: 1, is a group", "members of an owning group: 2: 1 can be told, 1 not in this workspace", "told U0OKAFOR2"},
	} {
		_, journal, _ := once(env, "show", id)
		for _, words := range want {
			if !strings.Contains(journal, words) {
				t.Errorf("%s does not say %q:\n%s", id, words, journal)
			}
		}
	}
}

// In a channel that the bot is not in, the conversation is a direct message.
func TestTheDemoAnswersElsewhereInADirectMessage(t *testing.T) {
	_, page, _ := demoUp(t, nil)
	page.send("command", map[string]any{"channel": random, "command": "/rehome", "text": "tenant-mismatch 3P PME"})
	page.await(random, "", "RH-7")
	dm := page.awaitDM()
	root := page.await(dm, "", "RH-7")
	page.await(dm, root.TS, "Option A")
}

func TestStoppingTheDemoLeavesNothingBehind(t *testing.T) {
	nothingLeft(t)
	r, _, store := demoUp(t, nil)
	dir := filepath.Dir(strings.TrimPrefix(store, "bolt:"))
	if _, err := os.Stat(dir); err != nil {
		t.Fatal(err)
	}
	if code := r.stop(); code != done {
		t.Errorf("it ended with %d: %s", code, r.err.String())
	}
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s is still there", dir)
	}
}

// What list, show and outbox say beside the demo and of its file afterwards is
// the same.
func TestTheStoreIsReadBesideTheDemoAndAfterIt(t *testing.T) {
	r, page, store := demoUp(t, nil)
	page.await(triage, "", "RH-6")
	env := map[string]string{"REHOME_STORE": store}
	ask := func() (out []string) {
		for _, args := range [][]string{{"list"}, {"list", "--format", "json"}, {"show", "3"}, {"outbox", "--failed", "--format", "json"}} {
			code, said, errs := once(env, args...)
			if code != done || errs != "" {
				t.Fatalf("%v: %d %s", args, code, errs)
			}
			out = append(out, said)
		}
		return out
	}
	page.await(triage, page.await(triage, "", "RH-3").TS, "SG owner") // everything has been said by then
	drained(t, env)
	beside := ask()
	info, err := os.Stat(strings.TrimPrefix(store, "bolt:") + ".sock")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v, %v", info, err)
	}
	// The demo takes its file with it, so what is read afterwards is a copy.
	content, err := os.ReadFile(strings.TrimPrefix(store, "bolt:"))
	if err != nil {
		t.Fatal(err)
	}
	if code := r.stop(); code != done {
		t.Fatal(r.err.String())
	}
	kept := filepath.Join(t.TempDir(), "kept.db")
	if err := os.WriteFile(kept, content, 0o600); err != nil {
		t.Fatal(err)
	}
	env["REHOME_STORE"] = "bolt:" + kept
	if diff := cmp.Diff(beside, ask()); diff != "" {
		t.Errorf("beside and afterwards differ: %s", diff)
	}
	if !strings.Contains(beside[0], "RH-6  advised") || !strings.Contains(beside[2], "Fabrikam Telemetry Relay") {
		t.Errorf("it says little: %s", beside)
	}
}

// drained waits until nothing waits to be said.
func drained(t *testing.T, env map[string]string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		_, out, _ := once(env, "outbox")
		if strings.Contains(out, "Nothing waits") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(out)
		}
	}
}

// The broken sample is no surprise: its line says why it is there.
func TestTheBrokenSampleSaysThatItIsMeantToBe(t *testing.T) {
	r, _, _ := demoUp(t, nil)
	r.expect(`^  line 7  not understood, kept in quarantine \(.*\) \(broken on purpose, to show it\)$`)
	if strings.Count(r.said(), "on purpose") != 1 {
		t.Error(r.said())
	}
}

func TestAPortInUseNamesTheFlag(t *testing.T) {
	_, page, _ := demoUp(t, nil)
	at := strings.TrimPrefix(page.url, "http://")
	code, _, said := once(nil, "demo", "--listen", at)
	want := "rehome: " + at + " is in use by another program; stop that one, or choose another address with --listen (127.0.0.1:0 takes any free port)\n"
	if code != failed || said != want {
		t.Errorf("%d: %s", code, said)
	}
}

// Alerts of one's own arrive line by line, each with what became of it; a bad
// one does not take the others with it, and the same one twice is one.
func TestAlertsFromAFeedAreSaidLineByLine(t *testing.T) {
	nothingLeft(t)
	in, feed := io.Pipe()
	r := start(t, nil, in, "demo", "--listen", "127.0.0.1:0", "--alerts", "-")
	page := browser{t, r.expect(`^The workspace is at (http://\S+)/$`)[1], rivera}
	write := func(s string) {
		t.Helper()
		if _, err := io.WriteString(feed, s+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	const alert = `{"id": "X-1", "source": {"system": "other"}, "title": "AAD Entra Apps cloud mismatches with Cert Cloud", "app": {"displayName": "Contoso <!channel> Feed"}}`
	write(alert)
	write(`{"id": "X-2", "source": {"system": "other"}, "title": "t", "app": {"appId": "nope"}}`)
	write(alert)
	write(`{"id": "X-3", "source": {"system": "other"}, "title": "Something else", "app": {}, "credential": {"secretText": "c0ffee-canary"}}`)
	r.expect(`^  line 1  RH-1  AAD Entra Apps cloud mismatches with Cert Cloud$`)
	r.expect(`^  line 2  not understood, kept in quarantine \(app\.appId is not a GUID; send it as 0{8}-0{4}-0{4}-0{4}-0{12}\)$`)
	r.expect(`^  line 3  RH-1  .* \(was known already\)$`)
	r.expect(`^  line 4  RH-2  Something else \(credential\.secretText looks like key material and was left out; .*\)$`)
	root := page.await(triage, "", "RH-1")
	if strings.Contains(root.Text, "<!channel>") {
		t.Errorf("an alert can mention people: %s", root.Text)
	}
	if code := r.stop(); code != done {
		t.Errorf("%d: %s", code, r.err.String())
	}
	if strings.Contains(r.said()+r.err.String(), "canary") {
		t.Error("key material was printed")
	}
	_ = feed.Close()
}

// The samples in the binary cover every kind of violation, come to what they
// are there to show, and one of them is broken on purpose.
func TestTheSamplesShowEveryKind(t *testing.T) {
	now := time.Date(2026, 11, 21, 9, 30, 0, 0, time.UTC)
	tenants, err := policy.ParseTenants(demoTenants)
	if err != nil {
		t.Fatal(err)
	}
	p := policy.Default().WithTenants(tenants)
	var got []string
	for rec, err := range intake.Records(strings.NewReader(asOf(demoAlerts, now))) {
		if err != nil {
			t.Fatal(err)
		}
		a, err := intake.Decode(rec.Raw)
		if err != nil {
			got = append(got, "malformed")
			continue
		}
		if a.Violation.Due.Before(now.AddDate(0, 0, -10)) || a.Violation.Due.After(now.AddDate(0, 0, 40)) {
			t.Errorf("line %d is due %v", rec.Line, a.Violation.Due)
		}
		d := p.Decide(p.Infer(a.Violation), now)
		line := string(d.Scenario) + " " + string(d.Outcome)
		if d.Need != nil {
			line += " " + string(d.Need.Fact)
		}
		got = append(got, line)
	}
	want := []string{
		"tenant-mismatch ask option",
		"tenant-mismatch ask sg_owner_tenant",
		"cloud-mismatch ask sg_owner_tenant",
		"tenant-mismatch steps", // handed over: everything was confirmed before
		"rotation steps",
		"secrets-only steps",
		"malformed",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTheProcessThatHoldsTheStoreSaysWhatItDoesNotHave(t *testing.T) {
	_, _, store := demoUp(t, nil)
	code, _, said := once(map[string]string{"REHOME_STORE": store}, "show", "RH-99")
	if code != failed || said != "rehome: there is no conversation RH-99; see all with: rehome list\n" {
		t.Errorf("%d: %s", code, said)
	}
}

// A delivery's effect is described, never left out.
func TestWhatWaitsIsDescribed(t *testing.T) {
	for _, e := range []conversation.Effect{
		conversation.Show{In: 1, Card: "q2"},
		conversation.Tell{To: conversation.Person{ID: rivera}, Text: policy.Say("Ada was faster.")},
		conversation.Record{Text: "opened"},
		conversation.Lookup{},
		conversation.Lookup{Late: true},
		conversation.Spread{By: conversation.Person{ID: rivera}},
		conversation.Gather{To: conversation.Person{ID: rivera}},
		conversation.Report{Text: policy.Say("A word.")},
		conversation.Remember{Key: "app/1"},
	} {
		if whatOf(e) == "" {
			t.Errorf("%T", e)
		}
	}
	if _, err := json.Marshal(waiting{What: "x"}); err != nil {
		t.Error(err)
	}
	if ctx, stop := untilSignal(context.Background()); ctx.Err() != nil {
		t.Error("it was over before it began")
	} else {
		stop()
	}
}
