package bot

import (
	"context"
	"fmt"

	"rehome/conversation"
	"rehome/store"
)

// Rule decides anew what was last decided by another policy than this one, or
// with another tenant map: when the bot starts after either was changed. It
// returns how many conversations that were. Closed ones are decided anew when
// they are found again. A conversation is written in a transaction of its own, so
// that a start that is broken off goes on with the next.
func (b *Bot) Rule(ctx context.Context) (int, error) {
	n, mark := 0, b.Policy.Mark()
	var failed error
	err := b.Store.List(ctx, func(c conversation.Conversation) bool {
		if c.Status == conversation.Closed || c.Ruled == mark {
			return true
		}
		// The policy can change there and back, so the key says what state it meets.
		key := fmt.Sprintf("ruled:%s:%s:%d", mark, c.ID, c.Rev)
		var done store.Applied
		if done, failed = b.Handle(ctx, key, c.ID, conversation.Ruled{Facts: b.Policy.Infer(c.Violation)}); done.Fresh {
			n++
		}
		return failed == nil
	})
	if failed != nil {
		err = failed
	}
	if err != nil {
		err = fmt.Errorf("deciding anew by this policy: %w", err)
	}
	return n, err
}
