package main

import (
	"context"
	"strings"
	"testing"
)

// At a terminal findings are gathered by what they are about, in colour, and
// broken at its width; in plain characters when that is asked for.
func TestDoctorAtATerminal(t *testing.T) {
	for name, env := range map[string]map[string]string{"in colour": {}, "plain": {"NO_COLOR": "1"}} {
		t.Run(name, func(t *testing.T) {
			s, tty := openTerminal(t)
			env["REHOME_LISTEN"], env["REHOME_STORE"], env["SLACK_BOT_TOKEN"] = "127.0.0.1:0", "bolt:"+shortDir(t)+"/s.db", "xoxp-canary"
			code := run(context.Background(), []string{"doctor"}, func(name string) string { return env[name] }, stdio{tty, tty, &s.errs})
			s.await("to mend")
			said := s.said()
			if code != failed || strings.Contains(said, "canary") || strings.Contains(said, "\x1b[31m✗\x1b[0m") != (name == "in colour") || strings.Contains(said, "\x1b") != (name == "in colour") {
				t.Errorf("%d: %s", code, said)
			}
			for _, want := range []string{"Slack", "✗", "SLACK_BOT_TOKEN holds a user token", "→", "2 things to mend, and "} {
				if !strings.Contains(said, want) {
					t.Errorf("it does not show %q:\n%s", want, said)
				}
			}
		})
	}
}

func TestLongLinesHang(t *testing.T) {
	const words = "one two three four five six seven eight nine ten eleven twelve"
	got := hang(words, 40, 4)
	for i, line := range strings.Split(got, "\n") {
		if len(line) > 40 || i > 0 && !strings.HasPrefix(line, "    ") {
			t.Errorf("line %d is %q", i, line)
		}
	}
	if strings.Join(strings.Fields(got), " ") != words {
		t.Errorf("words are lost: %q", got)
	}
}
