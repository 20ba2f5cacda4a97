package main

import (
	"context"
	"sync"
	"time"

	"rehome/bot/slackapp"
)

// asked remembers for a while how Slack answered a question, so that those who
// ask often whether we are ready cost Slack little, and are not held up by a
// Slack that is slow.
type asked[T any] struct {
	mu     sync.Mutex
	last   answer[T]
	until  time.Time     // last is good until then; zero before the first answer
	coming chan struct{} // closed when Slack has answered; nil while it is not asked
}

// An answer is what Slack said.
type answer[T any] struct {
	is  T
	err error
	at  time.Time // zero: Slack never answered, nor failed to within askWithin
}

// age is how long ago that was, in whole seconds.
func (a answer[T]) age() string {
	if a.at.IsZero() {
		return ""
	}
	return time.Since(a.at).Truncate(time.Second).String()
}

// askWithin is how long Slack may take for an answer.
const askWithin = 2 * time.Second

const (
	reachedFor   = 10 * time.Second
	unreachedFor = time.Second
	roomFor      = 2 * time.Minute // how long a channel is taken to be as it was
)

// ask asks Slack, or repeats what it has answered a good (or, after an error, a
// bad) while ago. When ctx ends before Slack answers, it returns what Slack said
// before that; the others who wait hear the answer all the same.
func (r *asked[T]) ask(ctx context.Context, under *inquiries, slack func(context.Context) (T, error), good, bad time.Duration) answer[T] {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Now().Before(r.until) {
		return r.last
	}
	if r.coming == nil {
		coming := make(chan struct{})
		//nolint:contextcheck // the answer is shared by all who ask, so no one caller ends it
		begun := under.begin(func(ctx context.Context) {
			v, err := slack(ctx)
			r.hear(v, err, good, bad)
			close(coming)
		})
		if !begun {
			return r.last
		}
		r.coming = coming
	}
	coming := r.coming
	r.mu.Unlock()
	select {
	case <-coming:
	case <-ctx.Done():
	}
	r.mu.Lock()
	return r.last
}

// hear notes what Slack answered.
func (r *asked[T]) hear(v T, err error, good, bad time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	lasts := good
	if err != nil {
		lasts = bad
	}
	now := time.Now()
	r.last, r.until, r.coming = answer[T]{v, err, now}, now.Add(lasts), nil
}

// inquiries are questions to Slack that are under way, which may outlive whoever
// asked. They end with the bot.
type inquiries struct {
	ctx  context.Context // of all of them
	stop context.CancelFunc

	mu    sync.Mutex
	ended bool
	under sync.WaitGroup
}

func newInquiries() *inquiries {
	ctx, stop := context.WithCancel(context.Background())
	return &inquiries{ctx: ctx, stop: stop}
}

// begin runs a question beside its caller, within askWithin; not after end.
func (i *inquiries) begin(question func(context.Context)) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ended {
		return false
	}
	i.under.Go(func() {
		ctx, cancel := context.WithTimeout(i.ctx, askWithin)
		defer cancel()
		question(ctx)
	})
	return true
}

// end breaks off what is under way, and waits for it.
func (i *inquiries) end() {
	i.mu.Lock()
	i.ended = true
	i.mu.Unlock()
	i.stop()
	i.under.Wait()
}

// rooms is what is known of channels.
type rooms struct {
	mu  sync.Mutex
	all map[string]*asked[slackapp.Channel]
}

func (r *rooms) of(id string) *asked[slackapp.Channel] {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = map[string]*asked[slackapp.Channel]{}
	}
	if r.all[id] == nil {
		r.all[id] = &asked[slackapp.Channel]{}
	}
	return r.all[id]
}
