package sandbox_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/slack-go/slack"
	"github.com/slack-go/slack/slackevents"
	"github.com/slack-go/slack/socketmode"

	"rehome/bot/sandbox"
)

// The page, driven in a headless Chromium against a real workspace and a small bot on slack-go.
// Every story has a workspace and a tab of its own; all share one browser. Whatever else a story
// looks at, it fails when the page logs a warning or an error.
func TestPage(t *testing.T) {
	browser := startBrowser(t)
	for _, story := range []struct {
		name string
		tell func(*testing.T, *stage)
	}{
		{"what is typed is shown formatted, and others are seen at once", typedIsShown},
		{"a command completes, says its usage, and is answered to one person", commandCompletes},
		{"a command that starts a thread leads into it", commandLeadsIntoItsThread},
		{"commands are refused in threads, unknown ones everywhere", commandsAreRefused},
		{"people, channels and emoji complete", wordsComplete},
		{"a button is busy until the app edits the message in place", buttonEditsInPlace},
		{"a dangerous button asks first", dangerousButtonAsks},
		{"a reply in a thread counts at its root", replyCounts},
		{"a choice from a menu reaches the app", menuReachesTheApp},
		{"a form complains at the field, then is accepted", formComplains},
		{"forms stack, and Escape takes one away", formsStack},
		{"a message shortcut opens the app's form", shortcutOpensForm},
		{"the Home tab shows what the app publishes", homeTab},
		{"taking another seat shows that person's view only", anotherSeat},
		{"everything can be done by keyboard", keyboardOnly},
		{"a phone shows one pane and never scrolls sideways", onAPhone},
		{"hostile text stays text", hostileTextIsInert},
		{"blocks of every kind are drawn, and foreign pictures not loaded", blocksAreDrawn},
		{"a reader further up is not pulled down", readerIsLeftAlone},
		{"unread messages are counted, marked and read", unreadIsMarked},
		{"an app that is silent or gone is said to be so", silentApp},
		{"a link to a message leads to it", permalinkLeadsThere},
		{"a channel can be joined, an archived one only read", joiningAndArchives},
	} {
		t.Run(story.name, func(t *testing.T) { story.tell(t, newStage(t, browser)) })
	}
}

func typedIsShown(_ *testing.T, s *stage) {
	s.open(ann)
	s.typeInto("#composer", "hello *world*, <b>you</b> & @bob"+kb.Enter)
	s.until(`last()?.querySelector("strong")?.textContent === "world"`)
	s.equal(`last().querySelector(".message-text").textContent`, "hello world, <b>you</b> & @Bob Carr")
	s.equal(`last().querySelector(".message-author").textContent`, "Ann Bell")
	s.equal(`$("#composer").value`, "")

	s.say(bob, "hi ann")
	s.until(`last().textContent.includes("hi ann")`)

	s.typeInto("#composer", "two")
	s.press(kb.Enter, chromedp.ModifierShift)
	s.typeInto("#composer", "lines"+kb.Enter)
	s.until(`last().querySelectorAll(".line").length === 2`)
}

func commandCompletes(t *testing.T, s *stage) {
	s.bot.command = func(c slack.SlashCommand) any { return map[string]any{"text": "on it: *" + c.Text + "*"} }
	s.open(ann)
	s.typeInto("#composer", "/he")
	s.until(`!$(".suggestions").hidden`)
	s.equal(`$(".suggestion-name").textContent + " – " + $(".suggestion-description").textContent`, "/help [topic] – Answers questions")
	s.press(kb.Enter)
	s.equal(`$("#composer").value`, "/help ")
	s.until(`!$(".composer-hint").hidden && $(".composer-hint").textContent.includes("[topic]")`)
	s.typeInto("#composer", "me"+kb.Enter)
	s.until(`last()?.textContent.includes("on it: me")`)
	s.equal(`last().querySelector(".ephemeral-mark").textContent`, "Only visible to you")
	if n := len(s.w.Messages(ops)); n != 0 {
		t.Errorf("%d messages for everybody, want none", n)
	}
}

func commandLeadsIntoItsThread(_ *testing.T, s *stage) {
	s.bot.command = func(c slack.SlashCommand) any {
		root := s.post(c.ChannelID, "", "root of "+c.Text, "")
		s.post(c.ChannelID, "", "the first question", root)
		return nil
	}
	s.open(ann)
	s.typeInto("#composer", "/help me"+kb.Enter)
	s.until(`all("#thread article").length === 2 && $("#thread").textContent.includes("the first question")`)
	s.until(`document.activeElement.id === "thread-composer"`)
}

func commandsAreRefused(t *testing.T, s *stage) {
	s.bot.command = func(slack.SlashCommand) any { t.Error("the app was asked"); return nil }
	root := s.say(bob, "talk about it here")
	s.open(ann)
	s.typeInto("#composer", "/nope x"+kb.Enter)
	s.until(`$("#main .composer-notice").textContent.startsWith("/nope is not a valid command.")`)
	s.equal(`$("#composer").value`, "/nope x")

	s.openThread(root)
	s.typeInto("#thread-composer", "/help"+kb.Enter)
	s.until(`$("#thread .composer-notice").textContent === "/help is not supported in threads. Sorry!"`)
}

func wordsComplete(_ *testing.T, s *stage) {
	s.open(ann)
	s.typeInto("#composer", "ask @ca")
	s.until(`!$(".suggestions").hidden`)
	s.equal(`$(".suggestion[aria-selected=true] .suggestion-name").textContent`, "Bob Carr")
	s.press(kb.Tab)
	s.typeInto("#composer", "in #op")
	s.until(`$(".suggestion .suggestion-name")?.textContent === "ops"`)
	s.press(kb.Enter)
	s.typeInto("#composer", "now :roc")
	s.until(`$(".suggestion .suggestion-name")?.textContent === ":rocket:"`)
	s.press(kb.ArrowDown)
	s.press(kb.ArrowUp)
	s.press(kb.Enter)
	s.equal(`$("#composer").value`, "ask @bob in #ops now :rocket: ")
	s.press(kb.Enter)
	s.until(`last()?.querySelector("[data-mention=U2]") && last().querySelector("[data-goto=C1]") && last().querySelector(".emoji[aria-label=':rocket:']")`)
}

func buttonEditsInPlace(t *testing.T, s *stage) {
	clicked, answer := make(chan struct{}), make(chan struct{})
	s.bot.action = func(c slack.InteractionCallback) any {
		close(clicked)
		select {
		case <-answer:
		case <-s.ctx.Done():
		}
		_, _, _, err := s.api.UpdateMessage(c.Channel.ID, c.Message.Timestamp, slack.MsgOptionText("answered *"+c.ActionCallback.BlockActions[0].Value+"*", false), slack.MsgOptionBlocks())
		if err != nil {
			t.Error(err)
		}
		return nil
	}
	ts := s.post(ops, question, "which?", "")
	s.open(ann)
	s.until(`$("[data-action-id=one]")`)
	s.run(chromedp.Evaluate[chromedp.Void](`document.querySelector("article").marked = true`))
	s.click("[data-action-id=one]")
	<-clicked
	s.until(`$("[data-action-id=one]").getAttribute("aria-busy") === "true"`)
	close(answer)
	s.until(`last().querySelector(".message-text")?.textContent.startsWith("answered 1")`)
	s.equal(`last().querySelector(".edited").textContent`, "(edited)")
	s.equal(`last().dataset.ts`, ts)
	s.equal(`String(last().marked)`, "true") // the same row, not a new one
	s.equal(`all("[data-action-id=one]").length + ""`, "0")
}

func dangerousButtonAsks(_ *testing.T, s *stage) {
	asked := make(chan string, 1)
	s.bot.action = func(c slack.InteractionCallback) any {
		asked <- c.ActionCallback.BlockActions[0].ActionID
		return nil
	}
	s.post(ops, question, "which?", "")
	s.open(ann)
	s.click("[data-action-id=drop]")
	s.until(`$("dialog[data-confirm]")?.textContent.includes("It can't be undone.")`)
	s.click("[data-answer=no]")
	s.until(`!$("dialog")`)
	s.click("[data-action-id=drop]")
	s.click("[data-answer=yes]")
	s.hear(asked, "drop")
	s.until(`!$("dialog")`)
}

func replyCounts(_ *testing.T, s *stage) {
	root := s.say(bob, "what about this?")
	s.open(ann)
	s.openThread(root)
	s.typeInto("#thread-composer", "I look at it"+kb.Enter)
	s.until(`$("#thread").textContent.includes("I look at it")`)
	s.until(`$(".reply-bar-count")?.textContent === "1 reply"`)
	s.w.Say(bob, ops, root, "thanks")
	s.until(`$("#thread").textContent.includes("thanks") && $(".reply-bar-count").textContent === "2 replies"`)
	s.press(kb.Escape)
	s.until(`$("#thread").hidden`)
	s.w.Say(bob, ops, root, "one more")
	s.until(`$(".reply-bar.has-new .reply-bar-count")?.textContent === "3 replies"`)
	s.equal(`all("#main article").length + ""`, "1")
}

func menuReachesTheApp(_ *testing.T, s *stage) {
	chosen := make(chan string, 4)
	s.bot.action = func(c slack.InteractionCallback) any {
		a := c.ActionCallback.BlockActions[0]
		switch a.Type {
		case "static_select", "overflow", "radio_buttons":
			chosen <- a.ActionID + "=" + a.SelectedOption.Value
		case "datepicker":
			chosen <- a.ActionID + "=" + a.SelectedDate
		case "multi_static_select":
			chosen <- fmt.Sprint(a.ActionID, "=", len(a.SelectedOptions))
		case "users_select":
			chosen <- a.ActionID + "=" + a.SelectedUser
		}
		return nil
	}
	s.post(ops, menus, "choose", "")
	s.open(ann)
	s.click("[data-action-id=tenant]")
	s.until(`$(".popup [role=option]")`)
	s.click(".popup [data-value=PME]")
	s.hear(chosen, "tenant=PME")
	s.until(`$("[data-action-id=tenant] .select-text").textContent === "PME"`)

	s.click("[data-action-id=more]")
	s.click(".popup [role=menuitem][data-value=close]")
	s.hear(chosen, "more=close")

	s.click("[data-action-id=several]")
	s.click(".popup [data-value=a]")
	s.click(".popup [data-value=b]")
	s.press(kb.Escape)
	s.hear(chosen, "several=2")
	s.equal(`all(".chip").map((chip) => chip.dataset.value).join()`, "a,b")

	s.click("[data-action-id=who]")
	s.click(".popup [data-value=U2]")
	s.hear(chosen, "who=U2")

	s.click("input[type=radio][value=B]")
	s.hear(chosen, "side=B")
}

func formComplains(t *testing.T, s *stage) {
	got := make(chan string, 1)
	s.bot.action = func(c slack.InteractionCallback) any {
		if c.Type == slack.InteractionTypeBlockActions {
			s.openView(c.TriggerID, fullForm)
			return nil
		}
		v := c.View.State.Values
		if v["name"]["name"].Value == "wrong" {
			return slack.NewErrorsViewSubmissionResponse(map[string]string{"name": "Not that one."})
		}
		got <- fmt.Sprint(v["name"]["name"].Value, " ", v["cloud"]["cloud"].SelectedOption.Value, " ", v["due"]["due"].SelectedDate, " ", v["party"]["party"].SelectedOption.Value, " ", len(v["checks"]["checks"].SelectedOptions))
		return nil
	}
	s.post(ops, question, "which?", "")
	s.open(ann)
	s.click("[data-action-id=one]")
	s.until(`$("dialog.modal .modal-title")?.textContent.startsWith("Form")`)
	s.until(`document.activeElement.dataset.actionId === "name"`)

	s.click("[data-modal=submit]")
	s.until(`$("[data-block-id=name] .input-error")?.textContent === "Please complete this required field."`)

	s.typeInto("[data-action-id=name]", "wrong")
	s.equal(`all(".input-error").length + ""`, "1") // the party is still missing, the name no more
	s.click("dialog input[type=radio][value='3P']")
	s.click("[data-action-id=cloud]")
	s.click(".popup [data-value=Mooncake]")
	s.click("dialog input[type=checkbox][value=v]")
	s.click("[data-modal=submit]")
	s.until(`$("[data-block-id=name] .input-error")?.textContent === "Not that one."`)
	s.equal(`$("[data-action-id=name]").getAttribute("aria-invalid") + " " + document.activeElement.dataset.actionId`, "true name")
	s.equal(`$("[data-action-id=cloud]").dataset.value`, "Mooncake")

	s.press("a", chromedp.ModifierCtrl)
	s.keys("right" + kb.Enter)
	s.hear(got, "right Mooncake 2026-12-01 3P 1")
	s.until(`!$("dialog")`)
	s.noModal()
}

// noModal waits until the workspace knows that ann's modal is closed: the page
// closes it at once and tells the workspace then.
func (s *stage) noModal() {
	s.t.Helper()
	if err := s.w.Await(soon(s.t), func() bool { _, open := s.w.Modal(ann); return !open }); err != nil {
		s.t.Error("the workspace still shows the modal")
	}
}

func formsStack(t *testing.T, s *stage) {
	s.bot.action = func(c slack.InteractionCallback) any {
		switch {
		case c.Type == slack.InteractionTypeBlockActions && c.View.ID == "":
			s.openView(c.TriggerID, fullForm)
		case c.Type == slack.InteractionTypeBlockActions:
			if _, err := s.api.PushView(c.TriggerID, s.view(strings.ReplaceAll(fullForm, `"Form"`, `"Second"`))); err != nil {
				t.Error(err)
			}
		}
		return nil
	}
	s.post(ops, question, "which?", "")
	s.open(ann)
	s.click("[data-action-id=one]")
	s.typeInto("dialog [data-action-id=name]", "kept")
	s.click("dialog [data-action-id=further]")
	s.until(`$(".modal-title")?.textContent.startsWith("Second")`)
	s.press(kb.Escape)
	s.until(`$(".modal-title")?.textContent.startsWith("Form")`)
	s.equal(`$("dialog [data-action-id=name]").value`, "kept")
	s.press(kb.Escape)
	s.until(`!$("dialog")`)
	s.noModal()
}

func shortcutOpensForm(_ *testing.T, s *stage) {
	s.bot.action = func(c slack.InteractionCallback) any {
		s.openView(c.TriggerID, strings.ReplaceAll(fullForm, `"Form"`, `"`+c.CallbackID+" "+c.Message.Text+`"`))
		return nil
	}
	ts := s.say(bob, "an alert")
	s.open(ann)
	s.run(chromedp.Focus(chromedp.CSS(fmt.Sprintf("article[data-ts=%q]", ts))))
	s.click("[data-tool=more]")
	s.click(".popup [data-value=look]")
	s.until(`$(".modal-title")?.textContent.startsWith("look an alert")`)
	s.press(kb.Escape)
	s.until(`!$("dialog")`)

	s.click("[data-tool=shortcuts]")
	s.click(".popup [data-value=start]")
	s.until(`$(".modal-title")?.textContent.startsWith("start ")`)
}

func homeTab(_ *testing.T, s *stage) {
	pressed := make(chan string, 1)
	publish := func(user, text string) error {
		var v slack.HomeTabViewRequest
		s.decode(`{"type":"home","blocks":[{"type":"header","text":{"type":"plain_text","text":"`+text+`"}},
			{"type":"actions","elements":[{"type":"button","action_id":"refresh","text":{"type":"plain_text","text":"Refresh"},"value":"r"}]}]}`, &v)
		_, err := s.api.PublishView(user, v, "")
		return err
	}
	s.bot.event = func(e slackevents.EventsAPIEvent) {
		if opened, ok := e.InnerEvent.Data.(*slackevents.AppHomeOpenedEvent); ok {
			check(s.t, publish(opened.User, "Yours, "+opened.User))
		}
	}
	s.bot.action = func(c slack.InteractionCallback) any {
		pressed <- c.ActionCallback.BlockActions[0].Value
		check(s.t, publish(c.User.ID, "Newer"))
		return nil
	}
	s.open(ann)
	s.click("[data-app]")
	s.until(`$(".home-tab .block-header")?.textContent === "Yours, U1"`)
	s.equal(`$("[role=tab][aria-selected=true]").textContent`, "Home")
	s.click("[data-action-id=refresh]")
	s.hear(pressed, "r")
	s.until(`$(".home-tab .block-header").textContent === "Newer"`)

	s.click("[data-tab=messages]")
	s.typeInto("#composer", "hello there"+kb.Enter)
	s.until(`last()?.textContent.includes("hello there")`)
	s.post(s.w.DM(ann), "", "good day", "")
	s.until(`last().textContent.includes("good day")`)
}

func anotherSeat(t *testing.T, s *stage) {
	s.say(bob, "for everybody")
	s.whisper(ann, "for ann alone")
	s.whisper(bob, "for bob alone")
	s.open(ann)
	s.until(`last()?.textContent.includes("for ann alone")`)
	s.equal(`$("[data-user][aria-pressed=true]").dataset.user`, ann)
	s.equal(`String($(".log").textContent.includes("for bob alone"))`, "false")
	s.typeInto("#composer", "a draft")

	s.click("[data-user=U2]")
	s.until(`$("#app").dataset.me === "U2" && last()?.textContent.includes("for bob alone")`)
	s.equal(`String($(".log").textContent.includes("for ann alone"))`, "false")
	s.equal(`$("#composer").value`, "")
	s.equal(`$("[data-user][aria-pressed=true]").dataset.user`, bob)
	s.equal(`String(location.hash.includes("user=U2"))`, "true")
	s.equal(`$("#main .main-title").textContent`, "ops")

	s.whisper(ann, "still for ann alone")
	s.say(bob, "after")
	s.until(`last().textContent.includes("after")`)
	s.equal(`String($(".log").textContent.includes("for ann alone"))`, "false")

	s.click("[data-user=U1]")
	s.until(`$("#app").dataset.me === "U1" && $(".log").textContent.includes("still for ann alone")`)
	s.equal(`$("#composer").value`, "a draft")
	if private := s.eval(`all("[data-channel=C2]").length + ""`); private != "1" {
		t.Errorf("ann's private channel is shown %s times", private)
	}
	s.click("[data-user=U3]") // a guest sees what they are a member of
	s.until(`$("#app").dataset.me === "U3"`)
	s.equal(`all(".sidebar [data-channel=C2]").length + ""`, "0")
}

func keyboardOnly(_ *testing.T, s *stage) {
	pressed := make(chan string, 4)
	s.bot.action = func(c slack.InteractionCallback) any {
		a := c.ActionCallback.BlockActions[0]
		pressed <- a.ActionID + a.SelectedOption.Value
		return nil
	}
	s.post(secops, question, "which?", "")
	s.open(ann)
	s.until(`document.activeElement.id === "composer"`)
	s.press("k", chromedp.ModifierCtrl)
	s.until(`document.activeElement.matches(".switcher-input")`)
	s.keys("secops")
	s.until(`$(".switcher-row[aria-selected=true]").dataset.place === "C2"`)
	s.press(kb.Enter)
	s.until(`!$("dialog") && $("#main .main-title").textContent === "secops" && all("article").length === 1`)

	s.tabTo(`document.activeElement.matches("article.message")`, chromedp.ModifierShift)
	s.tabTo(`document.activeElement.dataset.tool === "reply"`)
	s.tabTo(`document.activeElement.dataset.actionId === "one"`)
	s.press(" ")
	s.hear(pressed, "one")
	s.tabTo(`document.activeElement.dataset.actionId === "tenant"`)
	s.press(kb.ArrowDown)
	s.until(`$(".popup")`)
	s.press(kb.ArrowDown)
	s.press(kb.Enter)
	s.hear(pressed, "tenantPME")
	s.until(`!$(".popup") && document.activeElement.dataset.actionId === "tenant"`)

	s.tabTo(`document.activeElement.matches("article.message")`, chromedp.ModifierShift)
	s.press("t")
	s.until(`!$("#thread").hidden && document.activeElement.id === "thread-composer"`)
	s.keys("by hand" + kb.Enter)
	s.until(`$("#thread").textContent.includes("by hand")`)
	s.press(kb.Escape)
	s.until(`$("#thread").hidden && document.activeElement.id === "composer"`)

	s.tabTo(`document.activeElement.dataset.channel === "C2" && document.activeElement.matches(".row")`, chromedp.ModifierShift)
	s.press(kb.ArrowUp)
	s.until(`document.activeElement.dataset.channel === "C1" || document.activeElement.dataset.channel === "C4" || document.activeElement.dataset.channel === "C3"`)
	s.press(kb.Enter)
	s.until(`$("#main .main-title").textContent !== "secops"`)
}

func onAPhone(_ *testing.T, s *stage) {
	root := s.post(ops, menus, "choose", "")
	s.post(ops, everything, "everything", "")
	s.say(bob, "https://contoso.example/"+strings.Repeat("a-very-long-address", 20))
	s.post(ops, "", "a reply", root)
	s.run(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile, chromedp.EmulateTouch))
	s.open(ann)
	s.until(`all("article").length === 3`)
	fits := `document.documentElement.scrollWidth + " " + innerWidth + " " + $("#main .scroller").scrollWidth`
	s.equal(fits, "390 390 390")
	s.equal(`String($("#sidebar").getBoundingClientRect().right <= 0)`, "true")
	s.click("#open-drawer")
	s.until(`$("#sidebar").getBoundingClientRect().left === 0`)
	s.click(".sidebar [data-channel=C2]")
	s.until(`$("#main .main-title").textContent === "secops" && $("#sidebar").getBoundingClientRect().right <= 0`)
	s.click("#open-drawer")
	s.until(`$("#sidebar").getBoundingClientRect().left === 0`)
	s.click(".sidebar [data-channel=C1]")
	s.until(`$("#sidebar").getBoundingClientRect().right <= 0`)
	s.click(fmt.Sprintf("[data-open-thread=%q]", root))
	s.until(`$("#thread").getBoundingClientRect().width === 390 && all("#thread article").length === 2`)
	s.equal(fits, "390 390 390")
	s.click("[data-close-thread]")
	s.until(`$("#thread").hidden`)
}

func hostileTextIsInert(_ *testing.T, s *stage) {
	hostile := `&lt;script&gt;window.hit=1&lt;/script&gt; <img src=x onerror=window.hit=1> &lt;!channel&gt; <javascript:window.hit=1|click me> <data:text/html,x|data> [md](javascript:window.hit=1)`
	text, err := json.Marshal(hostile)
	check(s.t, err)
	s.post(ops, `[{"type":"section","text":{"type":"mrkdwn","text":`+string(text)+`}},{"type":"section","text":{"type":"plain_text","text":`+string(text)+`}},
		{"type":"markdown","text":`+string(text)+`},
		{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":`+string(text)+`},{"type":"link","url":"javascript:window.hit=1","text":"rich"}]}]}]`, hostile, "")
	s.post(ops, "", hostile, "")
	_, err = s.w.PostAs("<b>feed</b>", ops, hostile, nil)
	check(s.t, err)
	s.open(ann)
	s.until(`all("article").length === 3`)
	s.equal(`last().querySelector(".message-author").textContent`, "<b>feed</b>")
	s.equal(`String(last().querySelector(".message-text").textContent.startsWith("<script>window.hit=1</script> <img src=x onerror=window.hit=1> <!channel> <javascript:"))`, "true")
	s.equal(`all(".log script, .log img, .log b, .log [data-broadcast], .log [onerror]").length + ""`, "0")
	s.equal(`all(".log a").map((a) => a.protocol).join()`, "")
	s.equal(`String(window.hit)`, "undefined")

	s.say(bob, "a real one: https://contoso.example/x?a=1&b=2, and @channel")
	s.until(`last().querySelector("[data-broadcast=channel]")`)
	s.equal(`last().querySelector("a").href + " " + last().querySelector("a").rel`, "https://contoso.example/x?a=1&b=2 noopener noreferrer")
}

func blocksAreDrawn(_ *testing.T, s *stage) {
	s.post(ops, everything, "everything", "")
	s.open(ann)
	s.until(`all("article").length === 1`)
	s.equal(`all(".block").map((block) => block.dataset.blockType).join()`, "header,section,context,divider,image,rich_text,markdown,table,video")
	s.equal(`$(".unsupported").textContent`, "unsupported block “video”")
	s.equal(`$(".block[data-block-type=image]").textContent + all(".log img").length`, "a chart0")
	s.equal(`all(".section-field").map((field) => field.textContent).join()`, "OwnerAnn Bell,Due\nsoon")
	s.equal(`all(".block-rich li").map((item) => item.textContent).join()`, "first,second")
	s.equal(`$(".block-rich pre").textContent + "|" + $(".block-rich blockquote").textContent`, "az login|said")
	s.equal(`all(".block-markdown li").length + " " + $(".block-markdown .md-heading").textContent + " " + $(".block-markdown td").textContent`, "2 Plan 1")
	s.equal(`all(".block-section code, .block-section s, .block-section em").map((e) => e.textContent).join()`, "code,gone,slanted")
	s.equal(`$(".block-section pre").textContent + "|" + $(".block-section blockquote").textContent`, "pre <b>|quoted")
	s.equal(`$(".block-section a").textContent + " " + $(".block-section a").href`, "label https://contoso.example/")
	s.equal(`$(".block-section time").textContent`, "2026-12-01")
	s.equal(`all("table.x, .block[data-block-type=table] td").map((cell) => cell.textContent).join()`, "c,d")
}

func readerIsLeftAlone(_ *testing.T, s *stage) {
	for i := range 60 {
		s.say(bob, fmt.Sprintf("message %d of many", i))
	}
	s.open(ann)
	s.until(`all("article").length === 60 && $(".scroller").scrollTop > 0`)
	bottom := `$(".scroller").scrollHeight - $(".scroller").scrollTop - $(".scroller").clientHeight < 2`
	s.until(bottom)
	s.say(bob, "followed")
	s.until(`last().textContent.includes("followed") && ` + bottom)

	s.run(chromedp.Evaluate[chromedp.Void](`document.querySelector(".scroller").scrollTop = 0`))
	s.until(`$(".scroller").scrollTop === 0`)
	s.say(bob, "not followed")
	s.until(`last().textContent.includes("not followed") && !$(".new-pill").hidden`)
	s.equal(`$(".scroller").scrollTop + ""`, "0")
	s.click(".new-pill")
	s.until(bottom + ` && $(".new-pill").hidden`)
}

func unreadIsMarked(_ *testing.T, s *stage) {
	s.say(bob, "one")
	s.say(bob, "two")
	s.open(ann, secops)
	s.until(`$(".sidebar [data-channel=C1].is-unread .row-badge")?.textContent === "2"`)
	s.say(bob, "three")
	s.until(`$(".sidebar [data-channel=C1] .row-badge").textContent === "3"`)
	s.click(".sidebar [data-channel=C1]")
	s.until(`$(".new-line")?.nextElementSibling?.textContent.includes("one")`)
	s.until(`!$(".sidebar [data-channel=C1].is-unread")`)
	s.post(s.w.DM(ann), "", "a word for you", "")
	s.until(`$(".toast")?.textContent.includes("a word for you") && $("[data-app] .row-badge")?.textContent === "1"`)
	s.click(".toast .button")
	s.until(`$("[role=tab][aria-selected=true]")?.textContent === "Messages" && last()?.textContent.includes("a word for you")`)
	s.until(`!$("[data-app] .row-badge")`)
}

func silentApp(_ *testing.T, s *stage) {
	s.bot.action = func(slack.InteractionCallback) any { return never }
	s.post(ops, question, "which?", "")
	s.open(ann)
	s.until(`$("[data-app-state]").dataset.connected === "true" && $("[data-app-state]").textContent.includes("Socket Mode")`)
	s.click("[data-action-id=one]")
	s.until(`$(".toast-error")?.textContent.includes("did not respond")`)
	s.equal(`String($("[data-action-id=one]").getAttribute("aria-busy"))`, "null")

	s.stopBot()
	s.until(`$("[data-app-state]").dataset.connected === "false" && $(".banner").textContent.includes("helper is not connected")`)
	s.typeInto("#composer", "/help"+kb.Enter)
	s.until(`all(".toast-error").at(-1).textContent.includes("/help failed")`)
}

func permalinkLeadsThere(_ *testing.T, s *stage) {
	first := s.say(bob, "the first of them")
	for i := range 40 {
		s.say(bob, fmt.Sprint("message ", i))
	}
	link, err := s.api.GetPermalink(&slack.PermalinkParameters{Channel: ops, Ts: first})
	check(s.t, err)
	s.post(secops, "", "see <"+link+"|that message>", "")
	s.open(ann, secops)
	s.click(".log a")
	s.until(`$("#main .main-title").textContent === "ops"`)
	s.until(`$("article.flash")?.textContent.includes("the first of them")`)
	s.until(`$("article.flash").getBoundingClientRect().top > 0`)
}

func joiningAndArchives(_ *testing.T, s *stage) {
	s.open(ann, old)
	s.until(`$(".no-writing")?.textContent.includes("archived")`)
	s.run(chromedp.Navigate(s.url + "/#/club?user=" + bob))
	s.until(`$("#app").dataset.me === "U2"`)
	s.click(".sidebar [data-channel=C9]")
	s.click("[data-join=C9]")
	s.typeInto("#composer", "I am in"+kb.Enter)
	s.until(`last()?.textContent.includes("I am in")`)
}

// What the bot posts.

const question = `[
	{"type":"section","text":{"type":"mrkdwn","text":"Which one, <@U1>?"}},
	{"type":"actions","block_id":"ask","elements":[
		{"type":"button","action_id":"one","style":"primary","text":{"type":"plain_text","text":"One"},"value":"1"},
		{"type":"button","action_id":"drop","style":"danger","text":{"type":"plain_text","text":"Drop"},"value":"d","confirm":{"title":{"type":"plain_text","text":"Sure?"},
			"text":{"type":"mrkdwn","text":"It can't be *undone*."},"confirm":{"type":"plain_text","text":"Drop"},"deny":{"type":"plain_text","text":"Keep"}}},
		{"type":"static_select","action_id":"tenant","placeholder":{"type":"plain_text","text":"Which tenant?"},"options":[
			{"text":{"type":"plain_text","text":"AME"},"value":"AME"},{"text":{"type":"plain_text","text":"PME"},"value":"PME"}]}]}]`

const menus = `[
	{"type":"section","text":{"type":"mrkdwn","text":"Choose"},"accessory":{"type":"overflow","action_id":"more","options":[
		{"text":{"type":"plain_text","text":"Assign"},"value":"assign"},{"text":{"type":"plain_text","text":"Close"},"value":"close"}]}},
	{"type":"actions","elements":[
		{"type":"static_select","action_id":"tenant","placeholder":{"type":"plain_text","text":"Which tenant?"},"options":[
			{"text":{"type":"plain_text","text":"AME"},"value":"AME"},{"text":{"type":"plain_text","text":"PME"},"value":"PME"}]},
		{"type":"users_select","action_id":"who","placeholder":{"type":"plain_text","text":"Who?"}},
		{"type":"radio_buttons","action_id":"side","options":[{"text":{"type":"plain_text","text":"A"},"value":"A"},{"text":{"type":"plain_text","text":"B"},"value":"B"}]},
		{"type":"datepicker","action_id":"when"}]},
	{"type":"section","text":{"type":"mrkdwn","text":"Several"},"accessory":{"type":"multi_static_select","action_id":"several","placeholder":{"type":"plain_text","text":"Which?"},"options":[
		{"text":{"type":"plain_text","text":"a"},"value":"a"},{"text":{"type":"plain_text","text":"b"},"value":"b"},{"text":{"type":"plain_text","text":"c"},"value":"c"}]}}]`

const fullForm = `{"type":"modal","callback_id":"form","title":{"type":"plain_text","text":"Form"},"submit":{"type":"plain_text","text":"Go"},"blocks":[
	{"type":"section","text":{"type":"mrkdwn","text":"Say what you *know*."},"accessory":{"type":"button","action_id":"further","text":{"type":"plain_text","text":"Further"}}},
	{"type":"input","block_id":"name","label":{"type":"plain_text","text":"Name"},"element":{"type":"plain_text_input","action_id":"name","focus_on_load":true}},
	{"type":"input","block_id":"party","label":{"type":"plain_text","text":"Party"},"element":{"type":"radio_buttons","action_id":"party","options":[
		{"text":{"type":"plain_text","text":"1P"},"value":"1P"},{"text":{"type":"plain_text","text":"3P"},"value":"3P"}]}},
	{"type":"input","block_id":"cloud","optional":true,"label":{"type":"plain_text","text":"Cloud"},"element":{"type":"static_select","action_id":"cloud","options":[
		{"text":{"type":"plain_text","text":"Public"},"value":"Public"},{"text":{"type":"plain_text","text":"Mooncake"},"value":"Mooncake"}]}},
	{"type":"input","block_id":"checks","optional":true,"label":{"type":"plain_text","text":"Checks"},"element":{"type":"checkboxes","action_id":"checks","options":[
		{"text":{"type":"plain_text","text":"validated"},"value":"v"}]}},
	{"type":"input","block_id":"due","optional":true,"label":{"type":"plain_text","text":"Due"},"element":{"type":"datepicker","action_id":"due","initial_date":"2026-12-01"}}]}`

const everything = `[
	{"type":"header","text":{"type":"plain_text","text":"A header :tada:"}},
	{"type":"section","text":{"type":"mrkdwn","text":"` + "`code` ~gone~ _slanted_ <https://contoso.example/|label> <!date^1796126400^{date_num}|then>\\n```pre &lt;b&gt;```\\n&gt; quoted" + `"},"fields":[{"type":"mrkdwn","text":"*Owner*\nAnn Bell"},{"type":"plain_text","text":"Due\nsoon"}]},
	{"type":"context","elements":[{"type":"mrkdwn","text":"in small"},{"type":"image","image_url":"https://contoso.example/a.png","alt_text":"a mark"}]},
	{"type":"divider"},
	{"type":"image","image_url":"https://contoso.example/chart.png","alt_text":"a chart"},
	{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":"bold","style":{"bold":true}},{"type":"user","user_id":"U1"},{"type":"emoji","name":"wave"}]},
		{"type":"rich_text_list","style":"ordered","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":"first"}]},{"type":"rich_text_section","elements":[{"type":"text","text":"second"}]}]},
		{"type":"rich_text_preformatted","elements":[{"type":"text","text":"az login"}]},{"type":"rich_text_quote","elements":[{"type":"text","text":"said"}]}]},
	{"type":"markdown","text":"## Plan\n- [x] done\n- [ ] **open**\n\n| a | b |\n|---|---|\n| 1 | 2 |"},
	{"type":"table","rows":[[{"type":"raw_text","text":"a"},{"type":"raw_text","text":"b"}],[{"type":"raw_text","text":"c"},{"type":"raw_text","text":"d"}]]},
	{"type":"video","title":{"type":"plain_text","text":"A film"},"alt_text":"a film","thumbnail_url":"https://contoso.example/t.png","video_url":"https://contoso.example/v"}]`

// stage is one workspace with its bot, and one tab on its page.
type stage struct {
	t   *testing.T
	w   *sandbox.Workspace
	api *slack.Client
	bot *helper
	url string
	ctx context.Context // the tab's; it ends with the story

	stopBot func()
}

func newStage(t *testing.T, browser context.Context) *stage {
	t.Helper()
	cfg := office()
	cfg.App.Commands = []sandbox.Command{{Name: "/help", UsageHint: "[topic]", Description: "Answers questions"}}
	cfg.Channels = append(cfg.Channels, sandbox.Channel{ID: "C9", Name: "club", Members: []string{ann}})
	s := &stage{t: t}
	s.w, s.api, s.url = open(t, cfg)
	s.bot = &helper{api: s.api}

	tab, closeTab := chromedp.NewContext(browser)
	ctx, stop := context.WithTimeout(tab, time.Minute) // only ends stories that would never end
	s.ctx = ctx
	t.Cleanup(func() {
		stop()
		closeTab()
	})
	s.run(chromedp.EmulateViewport(1280, 800))
	s.failOnConsole()
	return s
}

// failOnConsole fails the story for what the page logs.
func (s *stage) failOnConsole() {
	messages := chromedp.Console(s.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for m, err := range messages {
			if err != nil {
				return // the tab is closed
			}
			if m.Type == chromedp.ConsoleError || m.Type == chromedp.ConsoleException || m.Type == chromedp.ConsoleWarning {
				s.t.Errorf("the page logged %s (%s)", m, m.URL)
			}
		}
	}()
	stopped := s.ctx
	s.t.Cleanup(func() {
		if stopped.Err() == nil {
			_ = chromedp.Cancel(stopped)
		}
		<-done
	})
}

// open starts the bot and looks at a channel (#ops if none is named) as a user.
func (s *stage) open(user string, channel ...string) {
	s.t.Helper()
	s.startBot()
	at := append(channel, ops)[0]
	s.run(chromedp.Navigate(s.url + "/#/" + at + "?user=" + user))
	s.until(`$("#app")?.dataset.ready === "true" && $("#app").dataset.me === "` + user + `"`)
}

// startBot connects the bot over Socket Mode; stopBot, or the end of the story, disconnects it.
func (s *stage) startBot() {
	s.t.Helper()
	client := socketmode.New(s.api)
	ctx, cancel := context.WithCancel(s.t.Context())
	var work sync.WaitGroup
	work.Go(func() { _ = client.RunContext(ctx) })
	work.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case e := <-client.Events:
				s.bot.handle(ctx, client, e)
			}
		}
	})
	s.stopBot = func() { cancel(); work.Wait() }
	s.t.Cleanup(s.stopBot)
	check(s.t, s.w.Await(soon(s.t), func() bool { return s.w.Sockets() > 0 }))
}

// shorthand is what every expression of a story may use.
const shorthand = `const $ = (css) => document.querySelector(css), all = (css) => [...document.querySelectorAll(css)], last = () => all("#main article").at(-1);`

// until waits until an expression is truthy. A page that throws meanwhile is not there yet.
func (s *stage) until(expression string) {
	s.t.Helper()
	wait := fmt.Sprintf(`(() => { %s const end = Date.now() + 15000; return new Promise((tell) => { const look = () => {
		let found = false;
		try { found = Boolean(%s); } catch {}
		if (found || Date.now() > end) tell(found); else setTimeout(look, 10);
	}; look(); }); })()`, shorthand, expression)
	found, err := chromedp.Run(s.ctx, chromedp.Evaluate[bool](wait, chromedp.EvalAwaitPromise))
	if err != nil || !found {
		s.t.Fatalf("never came true: %s (%v)\n%s\nthe workspace:\n%s", expression, err, s.screen(), s.w.Transcript())
	}
}

func (s *stage) eval(expression string) string {
	s.t.Helper()
	got, err := chromedp.Run(s.ctx, chromedp.Evaluate[string](fmt.Sprintf(`(() => { %s return (%s); })()`, shorthand, expression)))
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", expression, err, s.screen())
	}
	return got
}

func (s *stage) equal(expression, want string) {
	s.t.Helper()
	if got := s.eval(expression); got != want {
		s.t.Fatalf("%s is %q, want %q", expression, got, want)
	}
}

// screen is what the page shows as text, for failures.
func (s *stage) screen() string {
	text, err := chromedp.Run(s.ctx, chromedp.Evaluate[string](`document.body.innerText`))
	if err != nil {
		return "the page can't be read: " + err.Error()
	}
	return "the page:\n" + text
}

func (s *stage) run(actions ...chromedp.Action[chromedp.Void]) {
	s.t.Helper()
	if err := chromedp.Do(s.ctx, actions...); err != nil {
		s.t.Fatalf("%v\n%s", err, s.screen())
	}
}

// click waits for an element and clicks it with the mouse.
func (s *stage) click(css string) {
	s.t.Helper()
	s.until(fmt.Sprintf(`$(%q)?.checkVisibility()`, css))
	s.run(chromedp.Click(chromedp.CSS(css)))
}

// typeInto puts the caret into a field and types.
func (s *stage) typeInto(css, text string) {
	s.t.Helper()
	s.until(fmt.Sprintf(`$(%q)`, css))
	s.run(chromedp.Focus(chromedp.CSS(css)))
	s.keys(text)
}

// keys types into whatever has the focus.
func (s *stage) keys(text string) {
	s.t.Helper()
	s.run(chromedp.KeyEvent(text))
}

func (s *stage) press(key string, modifiers ...chromedp.Modifier) {
	s.t.Helper()
	s.run(chromedp.KeyEvent(key, chromedp.KeyModifiers(modifiers...)))
}

// tabTo presses Tab (with Shift: backwards) until a condition holds.
func (s *stage) tabTo(condition string, modifiers ...chromedp.Modifier) {
	s.t.Helper()
	for range 60 {
		s.press(kb.Tab, modifiers...)
		if s.eval("String(Boolean("+condition+"))") == "true" {
			return
		}
	}
	s.t.Fatalf("Tab never led to %s\n%s", condition, s.screen())
}

// hear waits for what the bot was told.
func (s *stage) hear(said <-chan string, want string) {
	s.t.Helper()
	select {
	case got := <-said:
		if got != want {
			s.t.Fatalf("the app was told %q, want %q", got, want)
		}
	case <-s.ctx.Done():
		s.t.Fatalf("the app was never told %q\n%s", want, s.screen())
	}
}

func (s *stage) openThread(root string) {
	s.t.Helper()
	s.until(fmt.Sprintf(`$("article[data-ts='%s']")`, root))
	s.run(chromedp.Focus(chromedp.CSS(fmt.Sprintf("article[data-ts=%q]", root))))
	s.press("t")
	s.until(`!$("#thread").hidden && document.activeElement.id === "thread-composer"`)
}

func (s *stage) say(user, text string) string {
	s.t.Helper()
	ts, err := s.w.Say(user, ops, "", text)
	check(s.t, err)
	return ts
}

// post posts as the bot; blocks and thread may be empty.
func (s *stage) post(channel, blocks, text, thread string) string {
	s.t.Helper()
	options := []slack.MsgOption{slack.MsgOptionText(text, false)}
	if blocks != "" {
		var b slack.Blocks
		s.decode(blocks, &b)
		options = append(options, slack.MsgOptionBlocks(b.BlockSet...))
	}
	if thread != "" {
		options = append(options, slack.MsgOptionTS(thread))
	}
	_, ts, err := s.api.PostMessage(channel, options...)
	check(s.t, err)
	return ts
}

func (s *stage) whisper(user, text string) {
	s.t.Helper()
	_, err := s.api.PostEphemeral(ops, user, slack.MsgOptionText(text, false))
	check(s.t, err)
}

func (s *stage) view(text string) slack.ModalViewRequest {
	var v slack.ModalViewRequest
	s.decode(text, &v)
	return v
}

func (s *stage) openView(trigger, view string) {
	if _, err := s.api.OpenView(trigger, s.view(view)); err != nil {
		s.t.Error(err)
	}
}

func (s *stage) decode(text string, into any) {
	if err := json.Unmarshal([]byte(text), into); err != nil {
		s.t.Error(err)
	}
}

// startBrowser starts one headless browser for all stories, or skips the test where there is none.
func startBrowser(t *testing.T) context.Context {
	t.Helper()
	path := findBrowser()
	if path == "" {
		t.Skip("no Chromium or Chrome found; install chromium to run the page's tests")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	if os.Getuid() == 0 { // Chromium's own sandbox refuses to run as root
		options = append(options, chromedp.NoSandbox)
	}
	ctx, endAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, endBrowser := chromedp.NewContext(ctx)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // a browser that is gone already is as good
		endBrowser()
		endAllocator()
	})
	check(t, chromedp.Do(ctx))
	return ctx
}

func findBrowser() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "headless-shell"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}
