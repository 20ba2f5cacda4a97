package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rehome/conversation"
	"rehome/store"
	"rehome/store/bolt"
)

// heldStore makes a store of one conversation and one quarantined record, and
// answers for it as a running bot does until the test ends.
func heldStore(t *testing.T, as func(direct) remembered) (path string, st *bolt.Store) {
	t.Helper()
	path = filepath.Join(shortDir(t), "held.db")
	st, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = st.ApplyAll(t.Context(), store.Batch{
		Inputs: []store.Input{{Event: "e", At: time.Now(), Step: func(c conversation.Conversation) (conversation.Conversation, []conversation.Effect) {
			return c, []conversation.Effect{conversation.Record{Text: "opened"}}
		}}},
		Quarantine: []store.Quarantined{{At: time.Now(), Source: "http", Why: "no title", Body: []byte("{}")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := listenAs(t.Context(), socketBeside(path))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var answering sync.WaitGroup
	answering.Go(func() {
		if err := answerBeside(ctx, l, path, as(direct{store: st}), http.NotFound, slog.New(slog.DiscardHandler)); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		stop()
		answering.Wait()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return path, st
}

func asItIs(d direct) remembered { return d }

// Beside a running bot the store is backed up, checked, and rid of what cannot
// be read; what would change the file under it is refused.
func TestTheToolsWorkBesideABotThatRuns(t *testing.T) {
	nothingLeft(t)
	path, st := heldStore(t, asItIs)
	env := map[string]string{"REHOME_STORE": "bolt:" + path}
	backup := filepath.Join(t.TempDir(), "to.backup")
	if code, out, errs := once(env, "backup", backup); code != done || !strings.Contains(out, "is a whole backup of "+path) || !strings.Contains(out, "1 conversation,") {
		t.Errorf("backup: %d %s%s", code, out, errs)
	}
	if stat, err := os.Stat(backup); err != nil || stat.Mode().Perm() != 0o600 {
		t.Errorf("the backup is %v, %v", stat, err)
	}
	left := path + bolt.Unfinished + "1" // as by a check that was killed
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := once(env, "check"); code != done || !strings.Contains(out, "  "+left+" is removed: ") {
		t.Errorf("check: %d %s%s", code, out, errs)
	}
	for _, args := range [][]string{{"check"}, {"check", path}} {
		if code, out, errs := once(env, args...); code != done || !strings.Contains(out, path+" is a store, and nothing is wrong with it") {
			t.Errorf("%v: %d %s%s", args, code, out, errs)
		}
	}
	env["REHOME_CHANNEL"] = triage
	if code, out, errs := once(env, "import", "--quarantined", "--discard", "1"); code != done || !strings.Contains(out, "1 from http is discarded: no title") {
		t.Errorf("discard: %d %s%s", code, out, errs)
	}
	if left, err := st.Quarantined(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("in quarantine is still %v, %v", left, err)
	}
	for _, args := range [][]string{{"compact"}, {"restore", backup}} {
		if code, _, errs := once(env, args...); code != failed || !strings.Contains(errs, "a bot is running on "+path+"; stop it first") {
			t.Errorf("%v: %d %s", args, code, errs)
		}
	}
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) != 3 {
		t.Errorf("there are %v, %v; want the store, its sentinel and the socket", files, err)
	}
}

// What is wrong with a store that is held is found, too: its sentinel.
func TestWhatIsWrongWithAStoreThatIsHeldIsFound(t *testing.T) {
	path, _ := heldStore(t, asItIs)
	if err := os.WriteFile(path+".id", []byte("another\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, _ := once(envOf(path), "check", "--format", "json")
	var found bolt.Examined
	if err := json.Unmarshal([]byte(out), &found); err != nil || code != failed || len(found.Problems) != 1 || found.Problems[0].Where != "the sentinel" || found.Path != path {
		t.Errorf("%d %s %v", code, out, err)
	}
}

func envOf(path string) map[string]string { return map[string]string{"REHOME_STORE": "bolt:" + path} }

// halfway passes on a part of the store, or nothing, and then fails.
type halfway struct {
	direct
	bytes int
}

func (h halfway) snapshot(_ context.Context, w io.Writer) error {
	if h.bytes > 0 {
		if _, err := w.Write(make([]byte, h.bytes)); err != nil {
			return err
		}
	}
	return errors.New("the disk is full of fish")
}

// A copy that breaks off on the way is no backup, and what is wrong is said.
func TestACopyThatBreaksOffIsNoBackup(t *testing.T) {
	for sent, say := range map[int]string{0: "the disk is full of fish", 100_000: "has ended in the middle"} {
		path, _ := heldStore(t, func(d direct) remembered { return halfway{d, sent} })
		dir := t.TempDir()
		code, out, errs := once(envOf(path), "backup", filepath.Join(dir, "to.backup"))
		if code != failed || out != "" || !strings.Contains(errs, "no backup was written") || !strings.Contains(errs, say) {
			t.Errorf("after %d bytes: %d %s %s, want that it says %q", sent, code, out, errs, say)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Errorf("after %d bytes: %v is left, %v", sent, left, err)
		}
	}
}

// The store is lost after the bot has said everything, and put back as it was
// before it had said anything. The bot says nothing twice, and goes on. What may
// have been said is given twenty seconds to appear: the roots, then the questions.
func TestABotThatIsRestoredSaysNothingTwice(t *testing.T) {
	nothingLeft(t)
	w, api := slackSide(t, false)
	dir := shortDir(t)
	path := filepath.Join(dir, "s.db")
	settings := filepath.Join(dir, "rehome.yaml")
	if err := os.WriteFile(settings, []byte("slack:\n  timeout: 1s\n  settle: 2s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"REHOME_CONFIG": settings, "SLACK_BOT_TOKEN": botToken, "SLACK_SIGNING_SECRET": signing, "SLACK_API_URL": api, "REHOME_STORE": "bolt:" + path, "REHOME_CHANNEL": triage}
	alerts := filepath.Join(dir, "alerts.ndjson")
	var lines strings.Builder
	for n := 1; n <= 3; n++ {
		fmt.Fprintf(&lines, `{"id": "X-%d", "source": {"system": "other"}, "title": %q, "app": {"displayName": "Contoso Relay %d"}}`+"\n", n, titleInCSV, n)
	}
	if err := os.WriteFile(alerts, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := once(env, "import", alerts); code != done {
		t.Fatal(out, errs)
	}
	backup := filepath.Join(dir, "a.backup")
	st, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = bolt.Backup(backup, time.Now(), func(to io.Writer) error { return direct{store: st}.snapshot(t.Context(), to) })
	if err := errors.Join(err, st.Close()); err != nil {
		t.Fatal(err)
	}

	said := func() (texts []string) {
		t.Helper()
		r, _ := serveUp(t, env)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.After(3 * time.Minute); ; {
			_, out, _ := once(env, "outbox")
			if strings.Contains(out, "Nothing waits") {
				break
			}
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatal(out)
			}
		}
		if code := r.stop(); code != done {
			t.Fatal(r.err.String())
		}
		for _, root := range w.Messages(triage) {
			texts = append(texts, root.Text)
			for _, reply := range w.Thread(triage, root.TS) {
				texts = append(texts, reply.Text)
			}
		}
		slices.Sort(texts)
		return texts
	}
	before := said()
	if len(before) < 6 {
		t.Fatalf("the bot said %q, want a root and a question each", before)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := once(env, "restore", backup); code != done || !strings.Contains(out, "RH-20001") {
		t.Fatal(out, errs)
	}
	if after := said(); !slices.Equal(before, after) {
		t.Errorf("before:\n%s\n\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	if code, out, errs := once(env, "check"); code != done {
		t.Error(out, errs)
	}
}

// forgetter notes what it is asked to forget.
type forgetter struct {
	store.Store
	asked []time.Time

	mu  sync.Mutex
	err error
}

func (f *forgetter) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *forgetter) Forget(_ context.Context, then, _ time.Time) (store.Forgotten, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, then)
	return store.Forgotten{}, f.err
}

// What is over for longer than keep is forgotten a little after the start and
// then a few times a day. What fails is tried again, and only a store that must
// not be used any more ends it.
func TestWhatIsOverForLongIsForgottenAFewTimesADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		f := &forgetter{err: store.ErrFull}
		keep := 400 * 24 * time.Hour
		ended := make(chan error, 1)
		ctx, stop := context.WithCancel(t.Context())
		forget := func() { ended <- forgetOld(ctx, f, keep, time.Now, slog.New(slog.DiscardHandler)) }
		go forget()
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if len(f.asked) != 4 || !f.asked[0].Equal(began.Add(forgetFirst-keep)) || !f.asked[1].Equal(f.asked[0].Add(forgetEvery)) {
			t.Errorf("in a day it was asked to forget what is before %v", f.asked)
		}
		f.fail(fmt.Errorf("s.db: %w", store.ErrUncertain))
		time.Sleep(forgetEvery)
		if err := <-ended; !errors.Is(err, store.ErrUncertain) {
			t.Errorf("a store that failed ends it with %v", err)
		}
		go forget()
		synctest.Wait()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("it ends with %v", err)
		}
	})
}

func TestHowLongIsKeptIsANumberOfDays(t *testing.T) {
	for s, want := range map[string]time.Duration{"": 0, "30d": 720 * time.Hour, "400d": 9600 * time.Hour, "36500d": 876_000 * time.Hour} {
		if got, err := parseKeep(s); err != nil || got != want {
			t.Errorf("%q is %s, %v; want %s", s, got, err, want)
		}
	}
	for _, s := range []string{"29d", "0d", "-400d", "400", "400h", "d", "1e3d", "36501d", "999999999999999999999d", "400d "} {
		if got, err := parseKeep(s); err == nil {
			t.Errorf("%q is taken as %s", s, got)
		}
	}
}

// A socket that a crash left is replaced; what cannot be is named, with what to do.
func TestWhatIsInThePlaceOfTheSocket(t *testing.T) {
	at := socketBeside(filepath.Join(shortDir(t), "s.db"))
	if err := os.WriteFile(at, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := listenAs(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Close(), os.Remove(at), os.Mkdir(at, 0o700)); err != nil {
		t.Fatal(err)
	}
	if _, err := listenAs(t.Context(), at); err == nil || !strings.Contains(err.Error(), "remove what is at "+at) {
		t.Errorf("a folder in its place: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(at), ".rehome-*")); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
}
