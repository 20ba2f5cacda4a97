package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"rehome/bot/intake"
)

// A sender posts alerts as any feed does: over HTTP, with a token.
type sender struct {
	client  *http.Client
	url     string // of /v1/violations
	token   string
	samples bool // it sends the samples, one of which is broken on purpose
}

func newSender(url, token string) sender {
	return sender{client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{Proxy: nil}}, url: url, token: token}
}

// sendAll reads alerts until they end or ctx does, posts each, and says what
// became of it.
func (s sender) sendAll(ctx context.Context, r io.ReadCloser) <-chan string {
	said := make(chan string)
	stop := context.AfterFunc(ctx, func() { _ = r.Close() }) // ends a read that waits for more
	go func() {
		defer close(said)
		defer stop()
		defer s.client.CloseIdleConnections()
		for rec, err := range intake.Records(r) {
			if ctx.Err() != nil {
				return
			}
			select {
			case said <- fmt.Sprintf("  line %d  %s", rec.Line, oneLine(s.sendOne(ctx, rec, err))):
			case <-ctx.Done():
				return
			}
		}
	}()
	return said
}

// sendOne posts a record and says what became of it.
func (s sender) sendOne(ctx context.Context, rec intake.Record, err error) string {
	if err != nil && len(rec.Raw) == 0 {
		return "not sent: " + err.Error()
	}
	a, err := s.post(ctx, rec.Raw)
	if err != nil {
		return "not sent: " + err.Error()
	}
	said := strings.Join(a.Conversations, ", ")
	for _, alert := range intake.Read(rec.Raw).Alerts {
		said += "  " + cutAt(alert.Violation.Title, 80)
	}
	if a.Duplicates > 0 {
		said += " (was known already)"
	}
	if a.Quarantined > 0 {
		said = strings.TrimPrefix(said+"; ", "; ") + "not understood, kept in quarantine"
	}
	for _, e := range append(a.Errors, a.Notes...) {
		said += fmt.Sprintf(" (%s)", strings.TrimSpace(e.Field+" "+e.Message))
	}
	if a.Quarantined > 0 && s.samples {
		said += " (broken on purpose, to show it)"
	}
	return cmp.Or(said, "nothing to do")
}

func (s sender) post(ctx context.Context, record []byte) (a intake.Answer, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(record))
	if err != nil {
		return a, err
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return a, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return a, err
	}
	if resp.StatusCode != http.StatusAccepted {
		return a, fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(body))
	}
	return a, json.Unmarshal(body, &a)
}
