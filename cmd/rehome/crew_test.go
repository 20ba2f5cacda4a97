package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rehome/bot/sandbox"
	"rehome/bot/slackapp"
	"rehome/store"
)

// Told to stop in the middle of a post, serve sends new work away, finishes the
// post and settles it, and ends in order. After the next start nothing is posted
// again.
func TestServeFinishesWhatIsUnderWay(t *testing.T) {
	nothingLeft(t)
	begun, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w, api := slackSideWith(t, true, func(method string, _ int) sandbox.Fault {
		if method == "chat.postMessage" {
			once.Do(func() {
				close(begun)
				<-goOn // Slack takes its time
			})
		}
		return sandbox.Fault{}
	})
	release := sync.OnceFunc(func() { close(goOn) })
	t.Cleanup(release)
	env := map[string]string{"SLACK_BOT_TOKEN": botToken, "SLACK_APP_TOKEN": appToken, "SLACK_API_URL": api, "REHOME_CHANNEL": triage,
		"REHOME_INTAKE_TOKEN": "canary", "REHOME_STORE": "bolt:" + filepath.Join(shortDir(t), "s.db")}
	r, url := serveUp(t, env)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	connected(ctx, t, w, url)
	if err := w.Command(rivera, triage, "/rehome", "tenant-mismatch 3P PME"); err != nil {
		t.Fatal(err)
	}
	<-begun
	r.cancel()

	sentAway := false
	for !sentAway && ctx.Err() == nil {
		status, retry, said := sendAlert(t, url)
		switch status {
		case http.StatusAccepted: // not told yet
		case http.StatusServiceUnavailable:
			sentAway = retry != "" && strings.Contains(said, "send it again")
		default:
			t.Fatalf("new work is answered with %d %s", status, said)
		}
	}
	if code, said := get(t, url+"/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(said, `"status": "stopping"`) {
		t.Errorf("readyz: %d %s", code, said)
	}
	if code, said := get(t, url+"/healthz"); code != http.StatusOK {
		t.Errorf("healthz: %d %s", code, said)
	}
	release()
	r.cancel = func() {}
	if code := r.stop(); code != done {
		t.Errorf("it ends with %d: %s", code, r.err.String())
	}
	for _, d := range outboxOf(t, env) {
		if !d.MaybeSent.IsZero() {
			t.Errorf("it is not known what became of %s", d.What)
		}
	}
	r, _ = serveUp(t, env)
	awaitText(ctx, t, w, "", "RH-1")
	if code := r.stop(); code != done {
		t.Errorf("it ends with %d", code)
	}
	if n := headed(w.Messages(triage), "RH-1 "); n != 1 {
		t.Errorf("RH-1 is there %d times", n)
	}
}

// headed is how many messages have words in their first line.
func headed(all []sandbox.Message, words string) (n int) {
	for _, m := range all {
		if strings.Contains(strings.SplitN(m.Text, "\n", 2)[0], words) {
			n++
		}
	}
	return n
}

func sendAlert(t *testing.T, url string) (status int, retry, said string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", url+"/v1/violations", strings.NewReader(`{"id": "X-1", "source": {"system": "other"}, "title": "AAD Entra Apps cloud mismatches with Cert Cloud"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	req.Header.Set("Authorization", "Bearer canary")
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var b strings.Builder
	_ = resp.Write(&b)
	return resp.StatusCode, resp.Header.Get("Retry-After"), b.String()
}

func outboxOf(t *testing.T, env map[string]string) (all []waiting) {
	t.Helper()
	code, out, errs := once(env, "outbox", "--format", "json")
	if err := json.Unmarshal([]byte(out), &all); code != done || err != nil {
		t.Fatalf("%d %v: %s", code, err, errs)
	}
	return all
}

// What does not end in time is named, and the store is left as a crash would
// leave it: whole.
func TestWhatDoesNotEndIsNamed(t *testing.T) {
	_, api := slackSide(t, false)
	a := assembled(t, parts{log: slog.New(slog.DiscardHandler), signed: []string{signing}, slack: slackapp.Options{BotToken: botToken, APIURL: api}})
	a.stopWithin = 50 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	stuck := make(chan struct{})
	cancel()
	err := a.run(ctx, func(context.Context) error { <-stuck; return nil })
	var left *leftBehind
	if !errors.As(err, &left) || !slices.Equal(left.who, []string{"HTTP"}) || !strings.Contains(err.Error(), "did not end within 50ms: HTTP; what was acknowledged is in the store") {
		t.Errorf("it ends with %v", err)
	}
	close(stuck)
	a.abandoned = false // it has ended now, and the test may close the store
}

// When one part fails all end, and the first failure is what is said.
func TestOneFailureEndsAll(t *testing.T) {
	_, api := slackSide(t, false)
	a := assembled(t, parts{log: slog.New(slog.DiscardHandler), signed: []string{signing}, slack: slackapp.Options{BotToken: botToken, APIURL: api}})
	oops := errors.New("oops")
	err := a.run(t.Context(), func(context.Context) error { return oops }, func(ctx context.Context) error { <-ctx.Done(); return errors.New("later") })
	if !errors.Is(err, oops) {
		t.Errorf("it ends with %v", err)
	}
}

func TestHealthzIsAboutGoingOn(t *testing.T) {
	for want, failed := range map[int]error{http.StatusOK: nil, http.StatusServiceUnavailable: store.ErrUncertain} {
		w := httptest.NewRecorder()
		alive(func() error { return failed })(w, httptest.NewRequestWithContext(t.Context(), "GET", "/healthz", nil))
		if w.Code != want {
			t.Errorf("with %v: %d %s", failed, w.Code, w.Body)
		}
	}
}

// The first SIGTERM ends serve in order, which takes as long as Slack does with
// what is under way; the second ends it at once.
func TestASecondSignalEndsAtOnce(t *testing.T) {
	if _, err := exec.LookPath("rehome"); err != nil {
		t.Skip("the program is not beside the test:", err)
	}
	begun := make(chan struct{})
	var once sync.Once
	w, api := slackSideWith(t, true, func(method string, _ int) (f sandbox.Fault) {
		if method == "chat.postMessage" {
			once.Do(func() { close(begun) })
			f.Kind = sandbox.Hang
		}
		return f
	})
	var log lockedBuffer
	c := exec.CommandContext(t.Context(), "rehome", "serve")
	c.Env = append(os.Environ(), "SLACK_BOT_TOKEN="+botToken, "SLACK_APP_TOKEN="+appToken, "SLACK_API_URL="+api, "REHOME_LISTEN=127.0.0.1:0",
		"REHOME_STORE=bolt:"+filepath.Join(shortDir(t), "s.db"))
	c.Stderr = &log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := w.Await(ctx, func() bool { return w.Sockets() > 0 }); err != nil {
		t.Fatalf("%v: %s", err, log.String())
	}
	if err := w.Command(rivera, triage, "/rehome", "tenant-mismatch 3P PME"); err != nil {
		t.Fatal(err)
	}
	<-begun
	signal := func() {
		if err := c.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	signal()
	if err := w.Await(ctx, func() bool { return w.Sockets() == 0 }); err != nil { // it was heard
		t.Fatalf("%v: %s", err, log.String())
	}
	signal()
	select {
	case err := <-ended:
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
			t.Errorf("it ends with %v, and not by the signal: %s", err, log.String())
		}
	case <-ctx.Done():
		_ = c.Process.Kill()
		t.Error("it does not end")
	}
}
