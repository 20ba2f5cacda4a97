package slackapp

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"rehome/bot"
)

// Find implements [bot.Chat]. It reads the thread, or for a root the channel or
// direct message, back to since, and looks at both marks of each message: its
// first block's id, which comes back as it was sent, and its metadata.
// Needs channels:history, groups:history or im:history, and for a user im:write.
func (c *Chat) Find(ctx context.Context, m bot.Message, since time.Time) (bot.At, bool, error) {
	return c.findMessage(ctx, m.Channel, m.ThreadTS, since, func(msg slack.Message) bool { return marks(msg, m) })
}

// findMessage looks for a message in a channel, the direct message with a user,
// or a thread.
func (c *Chat) findMessage(ctx context.Context, channel, thread string, since time.Time, is func(slack.Message) bool) (bot.At, bool, error) {
	if isUser(channel) {
		dm, _, _, err := c.api.OpenConversationContext(ctx, &slack.OpenConversationParameters{Users: []string{channel}, ReturnIM: true})
		if err != nil {
			return bot.At{}, false, failure(err, false)
		}
		channel = dm.ID
	}
	oldest := strconv.FormatInt(since.Unix(), 10) + ".000000"
	for cursor := ""; ; {
		messages, next, err := c.read(ctx, channel, thread, oldest, cursor)
		if err != nil {
			return bot.At{}, false, failure(err, false)
		}
		for _, msg := range messages {
			if is(msg) {
				return bot.At{Channel: channel, TS: msg.Timestamp}, true, nil
			}
		}
		if next == "" {
			return bot.At{}, false, nil
		}
		cursor = next
	}
}

// read reads a page of a thread, or of a channel when thread is "".
func (c *Chat) read(ctx context.Context, channel, thread, oldest, cursor string) (page []slack.Message, next string, err error) {
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

// marks reports whether a message shows a card, in whatever state.
func marks(msg slack.Message, m bot.Message) bool {
	if msg.Metadata.EventType == MetadataEvent && msg.Metadata.EventPayload["conversation"] == m.Conversation && msg.Metadata.EventPayload["key"] == m.Key {
		return true
	}
	prefix := "rh:" + m.Conversation + ":" + m.Key + ":"
	return len(msg.Blocks.BlockSet) > 0 && strings.HasPrefix(msg.Blocks.BlockSet[0].ID(), prefix)
}
