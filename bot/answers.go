package bot

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// What somebody is answered that belongs to no conversation: help, a list, that a
// press came too late. Nothing of it is written down, so that it does not outlive
// the process. It keeps the same limits as deliveries, and a plain no is not the
// end of it.

// A Way is how an answer can reach somebody.
type Way struct {
	// Message is where it goes. By its Conversation and Key an answer is looked for
	// that may have been said; one that is whispered or goes to an address cannot be.
	Message Message
	Send    func(context.Context) error // errors are *Failure
}

// How long and how many answers wait to be tried again.
const (
	answerLives    = 2 * time.Minute // an answer that comes later answers nothing
	answersWaiting = 256
	promptly       = time.Second // for its turn, where it came in
)

// Answer says something once, by the first of ways that takes it. It returns when
// that is done, or when it is left to Run: what Slack plainly sent away is tried
// again for two minutes, with pauses that grow. What may have been said is looked
// for and said again if it is not there; where it cannot be looked for, it is said
// once more, since an answer twice is better than none, and then given up. So is
// what waits when Run ends. What is given up is logged with its code.
func (b *Bot) Answer(ctx context.Context, ways ...Way) {
	a := &answer{ways: slices.Clone(ways), began: time.Now()}
	f := b.attempt(ctx, a, promptly)
	switch {
	case f == nil:
	case f.Kind != Again:
		b.unanswered(a, f.Code)
	default:
		a.last = f
		if why := b.answers.put(a); why != "" {
			b.unanswered(a, why)
		}
	}
}

// An answer is one that was not taken yet.
type answer struct {
	ways  []Way // that may still work
	began time.Time
	tries int      // that sent something
	last  *Failure // why it waits

	repeated bool      // it may have been said where it cannot be looked for
	unsure   *Message  // where it may have been said
	since    time.Time // by the bot's clock
}

// answers are those that wait for Run to try them again.
type answers struct {
	waiting chan *answer // has room for all of them

	mu    sync.Mutex
	count int
	ended bool // Run is there no longer
}

// put leaves an answer to Run, or says why it cannot.
func (w *answers) put(a *answer) (why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.ended:
		return codeStopping
	case w.count >= answersWaiting:
		return "too_many_wait"
	}
	w.count++
	w.waiting <- a
	return ""
}

func (w *answers) done() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count--
}

// shut takes no more answers, and gives those up that Run did not come to.
func (w *answers) shut(b *Bot) {
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	for {
		select {
		case a := <-w.waiting:
			b.unanswered(a, codeStopping)
		default:
			return
		}
	}
}

// codeStopping is the code of an answer that the end of the process overtook.
const codeStopping = "stopping"

// insist tries an answer again until it is taken, or is given up.
func (b *Bot) insist(ctx context.Context, a *answer) {
	defer b.answers.done()
	defer func() {
		if r := recover(); r != nil {
			b.Log.Error("an answer panicked and is given up; please report this", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		}
	}()
	for f := a.last; f != nil; f = b.attempt(ctx, a, patience) {
		wait := max(f.After, backoff(max(0, a.tries-1)))
		if f.Kind != Again || time.Since(a.began)+wait > answerLives {
			b.unanswered(a, f.Code)
			return
		}
		if sleep(ctx, wait) != nil {
			b.unanswered(a, codeStopping)
			return
		}
	}
}

// attempt tries the ways that are left, each once. It returns nil when the answer
// was said, and otherwise why not; it is worth another attempt when that is Again.
func (b *Bot) attempt(ctx context.Context, a *answer, most time.Duration) *Failure {
	if f, said := b.lookFor(ctx, a); f != nil || said {
		return f
	}
	var again, no *Failure
	var left []Way
	for _, w := range a.ways {
		f := b.sendBy(ctx, a, w, most)
		switch {
		case f == nil:
			return nil
		case f.Unsure && (w.Message.Whispered || w.Message.ByAddress):
			if a.repeated {
				return &Failure{Kind: Never, Code: f.Code, Err: f.Err}
			}
			a.repeated = true
			return &Failure{Kind: Again, Code: f.Code, After: f.After, Err: f.Err}
		case f.Unsure:
			a.unsure, a.since = &w.Message, b.Now()
			return &Failure{Kind: Again, Code: f.Code, After: max(f.After, b.Settle), Err: f.Err}
		case f.Kind == Again:
			left = append(left, w)
			if again == nil || f.After < again.After {
				again = f
			}
		default:
			no = f
		}
	}
	if a.ways = left; again != nil {
		return again
	}
	return no
}

// lookFor looks for an answer that may have been said.
func (b *Bot) lookFor(ctx context.Context, a *answer) (f *Failure, said bool) {
	if a.unsure == nil {
		return nil, false
	}
	_, found, err := b.Chat.Find(ctx, *a.unsure, a.since.Add(-lookBack))
	switch {
	case err != nil && !errors.As(err, &f):
		return &Failure{Kind: Again, Code: "unknown", Err: err}, false
	case f != nil && f.Kind != Never:
		return &Failure{Kind: Again, Code: f.Code, After: f.After, Err: f.Err}, false
	case f != nil && (b.AtMostOnce || a.repeated):
		return &Failure{Kind: Never, Code: codeUnsure}, false
	case f != nil:
		a.repeated = true
	}
	a.unsure = nil
	return nil, found
}

// sendBy sends an answer one way, when its turn comes within most.
func (b *Bot) sendBy(ctx context.Context, a *answer, w Way, most time.Duration) *Failure {
	if until, halted := b.out.halt.probing(); halted && !w.Message.ByAddress && time.Now().Before(until) {
		code, _ := b.Halted()
		return &Failure{Kind: Stop, Code: code}
	}
	err := b.turnWithin(ctx, w.Message, most)
	var wait *notYet
	if errors.As(err, &wait) {
		return &Failure{Kind: Again, Code: CodeLimited, After: max(0, time.Until(wait.until)-patience), Err: err}
	} else if err != nil {
		return &Failure{Kind: Again, Code: codeStopping, Err: err}
	}
	a.tries++
	err = w.Send(ctx)
	b.answered(w.Message, err)
	var f *Failure
	if err != nil && !errors.As(err, &f) {
		f = &Failure{Kind: Never, Code: "unknown", Err: err}
	}
	return f
}

// unanswered says that an answer was given up. Its words are nobody else's.
func (b *Bot) unanswered(a *answer, code string) {
	b.Log.Warn("somebody could not be answered", "code", code, "tries", a.tries, "for", time.Since(a.began).Round(time.Second))
}
