package slackapp

import (
	"context"
	"fmt"
	"slices"

	"github.com/slack-go/slack"

	"rehome/conversation"
)

const (
	homeStart  = "home:start"
	homeLength = 20 // conversations shown
)

// publishHome shows somebody their Home tab.
func (d *Doors) publishHome(ctx context.Context, user string) {
	if !isUser(user) {
		return
	}
	view, err := d.homeView(ctx, user)
	if err != nil {
		d.Log.Error("the Home tab could not be made", "err", err)
		return
	}
	if _, err := d.Chat.api.PublishViewContext(ctx, slack.PublishViewContextRequest{UserID: user, View: view}); err != nil {
		d.Log.Warn("the Home tab could not be published", "code", failure(err, asking).Code)
	}
}

func (d *Doors) homeView(ctx context.Context, user string) (slack.HomeTabViewRequest, error) {
	now := d.Bot.Now()
	var mine []listing
	count := 0
	err := d.Bot.Store.List(ctx, func(c conversation.Conversation) bool {
		card, _ := c.Card(conversation.RootKey, now)
		if r, ok := card.(conversation.Root); ok && !over(c) && concerns(c, user) {
			count++
			if mine = append(mine, listing{Root: r, at: threadFor(c, user)}); len(mine) > homeLength {
				mine = mine[1:]
			}
		}
		return true
	})
	if err != nil {
		return slack.HomeTabViewRequest{}, err
	}
	d.linkTo(ctx, mine)
	var p page
	p.header("Rehome")
	p.say("I help with violations of Entra apps' credentials: a certificate in the wrong tenant or cloud, secrets where a certificate belongs, a credential due for rotation. I ask what I cannot infer, and give you the steps.")
	start := slack.NewButtonBlockElement("start", "start", plainText("Start", maxLabel))
	start.Style = slack.StylePrimary
	p.controls(homeStart, nil, start)
	p.rule()
	p.header(fmt.Sprintf("Open and yours: %d", count))
	if len(mine) == 0 {
		p.say("Nothing is waiting for you.")
	}
	for _, r := range slices.Backward(mine) {
		p.say(line(r)...)
	}
	if count > len(mine) {
		p.note(words(fmt.Sprintf("The newest %d are shown.", len(mine))))
	}
	p.note(d.version()...)
	p.stamp("home")
	return slack.HomeTabViewRequest{Type: slack.VTHomeTab, CallbackID: "rehome_home", Blocks: slack.Blocks{BlockSet: p.blocks}}, nil
}
