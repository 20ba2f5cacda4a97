package sandbox_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rehome/bot/sandbox"
)

// The second client: an app on @slack/bolt, which shares no code with slack-go. It is run by node
// where node and .ci/bolt/node_modules are there (`npm ci` in .ci/bolt puts them there).

func TestBoltOverSocketMode(t *testing.T) {
	cfg := office()
	w, _, base := open(t, cfg)
	startBolt(t, "socket", base)
	check(t, w.Await(soon(t), func() bool { return w.Sockets() == 1 }))
	playWithBolt(t, w)
}

func TestBoltOverSignedHTTP(t *testing.T) {
	cfg := office()
	cfg.App.SocketMode = false
	w, _, base := open(t, cfg)
	ready := startBolt(t, "http", base)
	address := "http://127.0.0.1:" + strings.TrimPrefix(ready, "ready ") + "/slack/events"
	w.SetRequestURLs(address, address, address)
	check(t, w.VerifyURL())
	playWithBolt(t, w)
}

// startBolt runs the app and returns the line it prints when it is ready.
func startBolt(t *testing.T, mode, base string) string {
	t.Helper()
	folder := filepath.Join("..", "..", ".ci", "bolt")
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("no node here; CI has it")
	}
	if _, err := os.Stat(filepath.Join(folder, "node_modules", "@slack", "bolt")); err != nil {
		t.Skip("@slack/bolt is not installed; run `npm ci` in .ci/bolt")
	}
	ctx, cancel := context.WithCancel(t.Context())
	app := exec.CommandContext(ctx, "node", "app.js", mode)
	app.Dir = folder
	app.Env = append(os.Environ(), "SLACK_API_URL="+base+"/api/", "SLACK_BOT_TOKEN="+botToken, "SLACK_APP_TOKEN="+appToken, "SLACK_SIGNING_SECRET="+secret)
	app.Stderr = &said{t: t}
	app.WaitDelay = 5 * time.Second
	out := must(app.StdoutPipe())
	in := must(app.StdinPipe()) // its end tells the app to go, should this test die
	check(t, app.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = app.Wait()
		cancel()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the app did not start: %v", err)
	}
	return strings.TrimSpace(line)
}

// said passes what the app complains about to the test's log.
type said struct{ t *testing.T }

func (s *said) Write(b []byte) (int, error) {
	s.t.Logf("bolt: %s", b)
	return len(b), nil
}

func playWithBolt(t *testing.T, w *sandbox.Workspace) {
	t.Helper()
	text := func(channel, ts string, i int) string {
		if all := w.Thread(channel, ts); len(all) > i {
			return all[i].Text
		}
		return ""
	}

	check(t, w.Command(ann, ops, "/help", "me <&> you"))
	if e := w.Ephemerals(ann); len(e) != 1 || e[0].Text != "on it: me <&> you" {
		t.Errorf("the command's answer: %+v", e)
	}
	check(t, w.Await(soon(t), func() bool { return len(w.Messages(ops)) == 1 }))
	hello := w.Messages(ops)[0]
	if hello.Text != "Hello Ann Bell" || len(hello.Buttons()) != 1 || fmt.Sprint(hello.Selects()[0].Options) != "[{AME AME} {CME CME}]" || hello.Metadata.EventType != "greeting" {
		t.Errorf("the greeting: %+v", hello)
	}

	check(t, w.Select(bob, ops, hello.TS, "Pick", "CME"))
	check(t, w.Await(soon(t), func() bool { return len(w.Messages(ops)) == 2 }))
	if m := w.Messages(ops)[1]; m.Text != "picked CME" {
		t.Errorf("the response: %+v", m)
	}

	check(t, w.Click(ann, ops, hello.TS, "Open form"))
	check(t, w.Await(soon(t), func() bool { _, ok := w.Modal(ann); return ok }))
	if err := w.SubmitView(ann, map[string]string{"Name": "wrong"}); err == nil || err.Error() != "the form was not accepted: name: not that one" {
		t.Errorf("a wrong name: %v", err)
	}
	check(t, w.SubmitView(ann, map[string]string{"Name": "right"}))
	check(t, w.Await(soon(t), func() bool { m, _ := w.Message(ops, hello.TS); return m.Text == "It is right" && m.Blocks == nil }))

	ts := must(w.Say(bob, ops, "", "@helper are you there?"))
	check(t, w.Await(soon(t), func() bool { return text(ops, ts, 1) == `heard "<@UBOT> are you there?"` }))

	check(t, w.OpenHome(ann))
	check(t, w.Await(soon(t), func() bool { v, ok := w.Home(ann); return ok && v.BlockTexts()[0] == "At home" }))

	check(t, w.Shortcut(ann, "look", ops, ts))
	check(t, w.Await(soon(t), func() bool { m, _ := w.Message(ops, ts); return len(m.Reactions) == 1 }))

	dm := w.DM(ann)
	ts = must(w.Say(ann, dm, "", "break a limit"))
	const refused = "refused: invalid_blocks [ERROR] unsupported type: mrkdwn [json-pointer:/blocks/0/text/type]"
	check(t, w.Await(soon(t), func() bool { return text(dm, ts, 1) == refused }))

	for _, d := range w.Deliveries() {
		if d.Failure != "" {
			t.Errorf("a delivery failed: %s %s %s", d.Kind, d.Name, d.Failure)
		}
	}
}
