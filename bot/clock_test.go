package bot

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rehome/policy"
	"rehome/store"
)

// A wall is a clock that somebody sets. Time itself goes on as ever.
type wall struct{ off atomic.Int64 }

func (w *wall) now() time.Time       { return time.Now().Add(time.Duration(w.off.Load())) }
func (w *wall) set(by time.Duration) { w.off.Add(int64(by)) }

// late is a chat that takes a message, says that it broke off, and shows the
// message in its history only some time later.
type late struct {
	*room
	shows time.Duration
	taken time.Time
}

func (l *late) Show(ctx context.Context, m Message) (At, error) {
	if m.TS == "" && l.taken.IsZero() {
		l.taken = time.Now()
	}
	return l.room.Show(ctx, m)
}

func (l *late) Find(ctx context.Context, m Message, since time.Time) (At, bool, error) {
	if time.Since(l.taken) < l.shows {
		return At{}, false, nil
	}
	return l.room.Find(ctx, m, since)
}

// jumps are ways in which a clock is set: by how much, and after which time by
// how much again.
var jumps = map[string][2]time.Duration{
	"not at all":                  {},
	"back an hour":                {-time.Hour, 0},
	"forward a day":               {24 * time.Hour, 0},
	"forward a day and back":      {24 * time.Hour, -24 * time.Hour},
	"back an hour and forward":    {-time.Hour, time.Hour},
	"forward by half a minute":    {30 * time.Second, 0},
	"back by half of that, twice": {-15 * time.Second, -15 * time.Second},
}

func TestAClockThatIsSetLosesAndDoublesNothing(t *testing.T) {
	for name, jump := range jumps {
		for what, fails := range map[string]error{
			"broke off after it was taken": brokenOff,
			"refused for now":              &Failure{Kind: Again, Code: "ratelimited", After: 7 * time.Second},
		} {
			t.Run(name+", "+what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					clock, chat := &wall{}, &late{room: &room{}, shows: 15 * time.Second}
					if first := once("root", fails); strings.HasPrefix(what, "broke") {
						chat.breaks = first
					} else {
						chat.refuse = first
					}
					ctx, stop := context.WithCancel(t.Context())
					b := New(Bot{Policy: policy.Default(), Store: store.NewMem(), Chat: chat, Now: clock.now})
					ended := make(chan error, 1)
					go func() { ended <- b.Run(ctx) }()
					open(t, ctx, b, "k1", "C1")
					pass(time.Second / 2)
					var back time.Duration
					for _, by := range jump {
						clock.set(by)
						back = max(back, -by)
						b.Wake()
						pass(3 * time.Second)
					}
					pass(time.Minute)
					pass(back) // what was put off waits until the clock has caught up with itself
					synctest.Wait()
					heard := chat.heard()
					for _, line := range []string{"RH-1 post root in C1/", "RH-1 post q1 in C1/1"} {
						if n := strings.Count(heard, line); n != 1 {
							t.Errorf("%q was said %d times:\n%s", line, n, heard)
						}
					}
					stop()
					if err := <-ended; err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

func TestQuietHoursOnTheDaysWhenClocksAreChanged(t *testing.T) {
	night := Quiet{From: 20, To: 8, Weekends: new(false)}
	early := Quiet{From: 22, To: 2, Weekends: new(false)}
	for _, c := range []struct {
		why, zone string
		quiet     Quiet
		now, want string // local; want as UTC, so that it says which of two hours
	}{
		{"spring, the night is an hour short", "Europe/Berlin", night, "2026-03-28 21:00", "2026-03-29T06:00:00Z"},
		{"autumn, the night is an hour long", "Europe/Berlin", night, "2026-10-24 21:00", "2026-10-25T07:00:00Z"},
		{"the end is in the hour that is left out", "Europe/Berlin", early, "2026-03-28 23:00", "2026-03-29T01:00:00Z"},
		{"the end is in the hour that comes twice", "America/New_York", early, "2026-10-31 23:00", "2026-11-01T07:00:00Z"},
		{"midnight itself is left out", "Africa/Cairo", night, "2026-04-23 21:00", "2026-04-24T05:00:00Z"},
		{"midnight comes twice", "Africa/Cairo", night, "2026-10-29 21:00", "2026-10-30T06:00:00Z"},
		{"the weekend with a short night", "Europe/Berlin", Quiet{From: 20, To: 8}, "2026-03-27 21:00", "2026-03-30T06:00:00Z"},
		{"a weekend that ends where midnight is left out", "Asia/Beirut", Quiet{From: 20, To: 8}, "2026-03-28 12:00", "2026-03-30T05:00:00Z"},
		{"half an hour is left out", "Australia/Lord_Howe", night, "2026-10-03 21:00", "2026-10-03T21:00:00Z"},
	} {
		t.Run(c.why, func(t *testing.T) {
			zone, err := time.LoadLocation(c.zone)
			if err != nil {
				t.Skipf("no time zones are known here: %v", err)
			}
			now, err := time.ParseInLocation("2006-01-02 15:04", c.now, zone)
			if err != nil {
				t.Fatal(err)
			}
			got := c.quiet.until(now, zone)
			if got.UTC().Format(time.RFC3339) != c.want {
				t.Errorf("until = %s (%s), want %s", got, got.UTC().Format(time.RFC3339), c.want)
			}
			// On the way there it is quiet at any minute, and then it is not.
			for at := now; at.Before(got); at = at.Add(time.Minute) {
				if again := c.quiet.until(at, zone); !again.Equal(got) {
					t.Fatalf("at %s until = %s, want %s", at, again, got)
				}
			}
			if again := c.quiet.until(got, zone); !again.Equal(got) {
				t.Errorf("at its end it is quiet until %s", again)
			}
		})
	}
}

func TestADailyDigestComesOnceOnTheDaysWhenClocksAreChanged(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skipf("no time zones are known here: %v", err)
	}
	for _, hour := range []int{1, 2, 3, 9, 23, 24} {
		for _, day := range []string{"2026-03-28", "2026-03-29", "2026-10-24", "2026-10-25"} {
			start, err := time.ParseInLocation(time.DateOnly, day, zone)
			if err != nil {
				t.Fatal(err)
			}
			for created := start; created.Before(start.Add(26 * time.Hour)); created = created.Add(10 * time.Minute) {
				at := nextHour(created, created, hour, zone)
				if wait := at.Sub(created); wait < 0 || wait > 25*time.Hour {
					t.Errorf("what came at %s is told at %s, for a digest at %d", created, at, hour)
				}
			}
		}
	}
}
