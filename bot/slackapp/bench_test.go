package slackapp

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rehome/bot"
	"rehome/policy"
	"rehome/store/bolt"
)

// BenchmarkCommand takes signed commands in, 64 at a time, each acknowledged
// after its durable commit; nothing is delivered meanwhile. `.ci/bench` has the
// same over the wire, beside a peer and a floor.
func BenchmarkCommand(b *testing.B) {
	slack := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"ok":true,"channel":{"id":"C0000000001","is_channel":true,"is_member":true}}`)
	}))
	defer slack.Close()
	db, err := bolt.Open(filepath.Join(b.TempDir(), "rehome.db"), bolt.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	chat, err := NewChat(Options{BotToken: "xoxb-bench", APIURL: slack.URL + "/api/"})
	if err != nil {
		b.Fatal(err)
	}
	doors, err := New(Doors{Bot: bot.New(bot.Bot{Policy: policy.Default(), Store: db, Chat: chat}), Chat: chat, SigningSecrets: []string{secret}})
	if err != nil {
		b.Fatal(err)
	}
	form := url.Values{
		"team_id": {"T1"}, "channel_id": {triage}, "user_id": {alice}, "command": {CommandName},
		"response_url": {"https://hooks.slack.com/commands/T1/1/x"}, "text": {title + " 3P"},
	}.Encode()
	handler := doors.Handler()
	var serial atomic.Int64
	b.SetParallelism(32)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		mac := hmac.New(sha256.New, []byte(secret))
		for pb.Next() {
			body := form + "&trigger_id=" + strconv.FormatInt(serial.Add(1), 10)
			ts := strconv.FormatInt(time.Now().Unix(), 10)
			mac.Reset()
			_, _ = fmt.Fprintf(mac, "v0:%s:%s", ts, body)
			r := httptest.NewRequest(http.MethodPost, "/slack/commands", strings.NewReader(body))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("X-Slack-Request-Timestamp", ts)
			r.Header.Set("X-Slack-Signature", "v0="+hex.EncodeToString(mac.Sum(nil)))
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "RH-") {
				b.Errorf("answered %d: %s", w.Code, w.Body)
				return
			}
		}
	})
}
