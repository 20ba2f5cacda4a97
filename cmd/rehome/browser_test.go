package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// browser is somebody at the workspace's page: it speaks the page's own API.
type browser struct {
	t    *testing.T
	url  string // of the workspace, without a slash at its end
	user string
}

type post struct {
	TS       string           `json:"ts"`
	ThreadTS string           `json:"thread_ts"`
	Text     string           `json:"text"`
	Blocks   []map[string]any `json:"blocks"`
}

func (b browser) do(method, path string, body, into any) error {
	b.t.Helper()
	var sent bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&sent).Encode(body); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, &sent)
	if err != nil {
		return err
	}
	req.Close = true // leaves no connection behind
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// read returns a channel's messages, or those of a thread in it.
func (b browser) read(channel, thread string) []post {
	b.t.Helper()
	q := url.Values{"user": {b.user}, "channel": {channel}}
	if thread != "" {
		q.Set("thread_ts", thread)
	}
	var out struct{ Messages []post }
	if err := b.do("GET", "/client/messages?"+q.Encode(), nil, &out); err != nil {
		b.t.Fatal(err)
	}
	return out.Messages
}

// send does something in the workspace.
func (b browser) send(what string, body map[string]any) {
	b.t.Helper()
	body["user"] = b.user
	var out map[string]any
	if err := b.do("POST", "/client/"+what, body, &out); err != nil {
		b.t.Fatal(err)
	}
}

// await waits until a message of the channel or thread says all the words, and
// returns it.
func (b browser) await(channel, thread string, words ...string) (found post) {
	b.t.Helper()
	b.until(fmt.Sprintf("somebody says %q in %s %s", words, channel, thread), func() bool {
		for _, m := range b.read(channel, thread) {
			if saysAll(m.Text, words) {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// awaitDM waits until there is a direct message and returns its channel.
func (b browser) awaitDM() (channel string) {
	b.t.Helper()
	b.until("there is a direct message", func() bool {
		var state struct {
			Channels []struct {
				ID   string `json:"id"`
				IsIM bool   `json:"is_im"`
			}
		}
		if err := b.do("GET", "/client/state?user="+b.user, nil, &state); err != nil {
			b.t.Fatal(err)
		}
		for _, c := range state.Channels {
			if c.IsIM {
				channel = c.ID
			}
		}
		return channel != ""
	})
	return channel
}

// until waits for something to be so. The page's stream says when to look again.
func (b browser) until(what string, so func() bool) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", b.url+"/client/stream?since=0&user="+b.user, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	for stream := bufio.NewReader(resp.Body); !so(); {
		if err := nextEvent(stream); err != nil {
			b.t.Fatalf("waited in vain until %s: %v", what, err)
		}
	}
}

func nextEvent(stream *bufio.Reader) error {
	for {
		line, err := stream.ReadString('\n')
		if err != nil || strings.HasPrefix(line, "data:") {
			return err
		}
	}
}

func saysAll(text string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

// press presses the button, or picks the option, whose label begins with label.
func (b browser) press(channel string, m post, label string) {
	b.t.Helper()
	action := labelled(m, label)
	if action == nil {
		b.t.Fatalf("nothing is labelled %q in %q", label, m.Text)
	}
	b.send("action", map[string]any{
		"container": map[string]any{"type": "message", "channel": channel, "message_ts": m.TS, "thread_ts": m.ThreadTS},
		"action":    action,
	})
}

// choose waits until a message of the thread offers what begins with label, and
// presses that.
func (b browser) choose(channel, thread, label string) {
	b.t.Helper()
	var in post
	b.until(fmt.Sprintf("something is labelled %q in %s %s", label, channel, thread), func() bool {
		for _, in = range b.read(channel, thread) {
			if labelled(in, label) != nil {
				return true
			}
		}
		return false
	})
	b.press(channel, in, label)
}

// labelled is the action of the message's first control whose label begins so.
func labelled(m post, label string) map[string]any {
	for _, block := range m.Blocks {
		for _, e := range controls(block) {
			if action := pressed(e, label); action != nil {
				action["block_id"] = block["block_id"]
				return action
			}
		}
	}
	return nil
}

func controls(block map[string]any) (out []map[string]any) {
	elements, _ := block["elements"].([]any)
	if accessory, ok := block["accessory"]; ok {
		elements = append(elements, accessory)
	}
	for _, e := range elements {
		if e, ok := e.(map[string]any); ok {
			out = append(out, e)
		}
	}
	return out
}

func pressed(e map[string]any, label string) map[string]any {
	action := map[string]any{"action_id": e["action_id"], "type": e["type"]}
	if beginsWith(e["text"], label) {
		action["value"] = e["value"]
		return action
	}
	options, _ := e["options"].([]any)
	for _, o := range options {
		if o, ok := o.(map[string]any); ok && beginsWith(o["text"], label) {
			action["selected_option"] = o
			return action
		}
	}
	return nil
}

func beginsWith(text any, label string) bool {
	t, _ := text.(map[string]any)
	s, _ := t["text"].(string)
	return strings.HasPrefix(s, label)
}
