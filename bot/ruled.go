package bot

import (
	"context"
	"fmt"

	"rehome/conversation"
	"rehome/store"
)

// Rule decides every open conversation again that was last decided by another
// policy or with another tenant map. It is called when the bot starts, since either
// may have been changed. It returns how many conversations it decided again. Closed
// ones are decided again when they are found again. Each has a transaction of its
// own, so that after a start that was broken off the next one goes on from there.
func (b *Bot) Rule(ctx context.Context) (int, error) {
	n, mark := 0, b.Policy.Mark()
	var failed error
	err := b.Store.List(ctx, func(c conversation.Conversation) bool {
		if c.Status == conversation.Closed || c.Ruled == mark {
			return true
		}
		// A policy can be changed and changed back, so that its mark comes twice: the
		// key holds the conversation's revision too.
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
