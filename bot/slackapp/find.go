package slackapp

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"rehome/bot"
)

// Find implements [bot.Chat]. It reads the thread whole, or for a root the channel
// or direct message back to since, and looks at both marks of each message: its
// first block's id, which comes back as it was sent, and its metadata.
// Needs channels:history, groups:history or im:history, and for a user im:write.
func (c *Chat) Find(ctx context.Context, m bot.Message, since time.Time) (bot.At, bool, error) {
	channel := m.Channel
	if isUser(channel) {
		if err := c.turn(ctx, "conversations.open", bot.Tier3); err != nil {
			return bot.At{}, false, err
		}
		dm, _, _, err := c.api.OpenConversationContext(ctx, &slack.OpenConversationParameters{Users: []string{channel}, ReturnIM: true})
		if err == nil && (dm == nil || dm.ID == "") {
			err = errNoTS
		}
		if err != nil {
			return bot.At{}, false, c.unread("conversations.open", bot.Tier3, err)
		}
		channel = dm.ID
	}
	oldest := "" // a thread begins with its root, whatever our clock says
	if m.ThreadTS == "" {
		oldest = strconv.FormatInt(c.ahead.before(since).Unix(), 10) + ".000000"
	}
	for cursor := ""; ; {
		messages, next, err := c.read(ctx, channel, m.ThreadTS, oldest, cursor)
		switch {
		case isCode(err, "thread_not_found"):
			return bot.At{}, false, nil // it was deleted, with all that was in it
		case err != nil:
			return bot.At{}, false, c.unread(methodFor(m.ThreadTS), bot.Tier3, err)
		}
		for _, msg := range messages {
			if marks(msg, m) {
				return bot.At{Channel: channel, TS: msg.Timestamp}, true, nil
			}
		}
		if next == "" {
			return bot.At{}, false, nil
		}
		cursor = next
	}
}

// methodFor is the method that reads a thread, or a channel.
func methodFor(thread string) string {
	if thread != "" {
		return "conversations.replies"
	}
	return "conversations.history"
}

// longestTurn is how long a call waits for its turn. One whose turn is farther off
// fails, and is to be made again then.
const longestTurn = time.Minute

// turn waits until a method may be called under its rate limit, of which Slack
// counts each method by itself. Errors are *bot.Failure.
func (c *Chat) turn(ctx context.Context, method string, r bot.Rate) error {
	if c.unlimited {
		return nil
	}
	if wait := c.pace.Until(method, r); wait > longestTurn {
		return &bot.Failure{Kind: bot.Again, Code: bot.CodeLimited, After: wait, Err: errWaits}
	}
	if err := c.pace.Wait(ctx, method, r); err != nil {
		return failure(err, asking)
	}
	return nil
}

var errWaits = errors.New("no more of these calls are wanted for now")

// unread returns the failure of a call that was to read something. When the call
// came too fast, the method is slowed down.
func (c *Chat) unread(method string, r bot.Rate, err error) *bot.Failure {
	var f *bot.Failure
	if errors.As(err, &f) {
		return f // it was not even asked
	}
	f = failure(err, reading)
	c.hold(method, r, f)
	return f
}

// hold slows a method down when f says that it was called too fast.
func (c *Chat) hold(method string, r bot.Rate, f *bot.Failure) {
	if f.Code == bot.CodeLimited {
		c.pace.Slow(method, r, time.Now().Add(f.After))
	}
}

func isCode(err error, code string) bool {
	var refused slack.SlackErrorResponse
	return errors.As(err, &refused) && refused.Err == code
}

// read reads a page of a thread, or of a channel when thread is "".
func (c *Chat) read(ctx context.Context, channel, thread, oldest, cursor string) (page []slack.Message, next string, err error) {
	if err := c.turn(ctx, methodFor(thread), bot.Tier3); err != nil {
		return nil, "", err
	}
	if thread != "" {
		page, _, next, err = c.api.GetConversationRepliesContext(ctx, &slack.GetConversationRepliesParameters{
			ChannelID: channel, Timestamp: thread, Oldest: oldest, Cursor: cursor, Limit: 200, IncludeAllMetadata: true,
		})
		return page, next, err
	}
	r, err := c.api.GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{
		ChannelID: channel, Oldest: oldest, Cursor: cursor, Limit: 200, IncludeAllMetadata: true,
	})
	if err != nil {
		return nil, "", err
	}
	return r.Messages, r.ResponseMetaData.NextCursor, nil
}

// marks reports whether a message bears m's marks, whatever state of the card it
// shows.
func marks(msg slack.Message, m bot.Message) bool {
	if msg.Metadata.EventType == MetadataEvent && msg.Metadata.EventPayload["conversation"] == m.Conversation && msg.Metadata.EventPayload["key"] == m.Key {
		return true
	}
	prefix := "rh:" + m.Conversation + ":" + m.Key + ":"
	return len(msg.Blocks.BlockSet) > 0 && strings.HasPrefix(msg.Blocks.BlockSet[0].ID(), prefix)
}
