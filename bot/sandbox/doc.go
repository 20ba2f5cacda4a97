// Package sandbox is a Slack-compatible workspace in a box: people, channels, one app, and the
// wire between them. A real Slack client pointed at its address cannot tell the difference where
// it matters: same methods, same limits, same errors, same deadlines.
//
// It knows nothing of the bot that talks to it. Three parties meet here:
//
//	the app       /api/METHOD, /socket/…, /response/…   Slack's own wire (Web API, Socket Mode, response_url)
//	              or signed HTTP requests the other way, when App.SocketMode is false
//	people        /, /assets/…, /client/…               a page, its JSON API and its event stream
//	tests         the methods of Workspace               Command, Say, Click, Select, SubmitView, Await …
//
// # Starting one
//
//	w, err := sandbox.New(sandbox.Config{Users: …, Channels: …, App: …})
//	srv := httptest.NewServer(w)
//	defer srv.Close()
//	defer w.Close() // waits for every goroutine the workspace started
//	api := slack.New(botToken, slack.OptionAPIURL(srv.URL+"/api/"))
//
// Inside a testing/synctest bubble use [NewPipe] instead of a loopback listener: time then stands
// still while bytes travel, and three seconds, thirty minutes or five are over at once.
//
// # Acting and looking
//
// What a person does is a method that returns when the app has acknowledged it, or an error that
// says what the person would have seen: [Workspace.Command], [Workspace.Click], [Workspace.Select],
// [Workspace.SubmitView], [Workspace.Shortcut]. [Workspace.Say] and [Workspace.OpenHome] only cause
// events, which nobody waits for. What people see afterwards is read with [Workspace.Messages],
// [Workspace.Thread], [Workspace.Ephemerals], [Workspace.Modal], [Workspace.Home] and
// [Workspace.Toasts]; [Workspace.Await] waits for it without sleeping:
//
//	ts, _ := w.Say("U1", "C1", "", "@app hello")
//	err := w.Await(ctx, func() bool { return len(w.Thread("C1", ts)) == 2 })
//
// A click on something that has changed since is [Workspace.ClickOn] with the [Message] as it was
// read. What the app called is in [Workspace.Calls], what it was told and how soon it acknowledged
// in [Workspace.Deliveries]; whom a message notifies is in [Message].Mentions.
//
// # Breaking things
//
// [Config].Fault spoils single calls: before the work, after it, or only its answer.
// [Workspace.Refresh] and [Workspace.Disconnect] end sockets as Slack does, with every reason it
// gives; [Workspace.DeliverRaw] sends the app bytes that Slack never would, and
// [Workspace.DeleteMessage] takes a message away behind its back.
//
// # What it insists on
//
// Block Kit is validated as strictly as Slack documents it (blockkit.go), messages and views have
// Slack's limits, a trigger lives three seconds and once, a response_url thirty minutes and five
// times, an acknowledgement is due within three seconds, a method needs its scope, and, when
// Config.RateLimits is on, its tier. Where Slack's number is not published, the constant says so.
package sandbox
