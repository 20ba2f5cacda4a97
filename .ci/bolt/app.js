// A small app on Slack's own JavaScript framework, to prove that bot/sandbox speaks Slack and not
// only the dialect of our Go client. `node app.js socket` or `node app.js http`; the environment says
// where: SLACK_API_URL (with a slash at its end), SLACK_BOT_TOKEN, SLACK_APP_TOKEN,
// SLACK_SIGNING_SECRET. Over HTTP it prints the port it listens on. bolt_test.go drives it.
"use strict";

const { App, HTTPReceiver, LogLevel } = require("@slack/bolt");

const socket = process.argv[2] === "socket";
const receiver = socket ? undefined : new HTTPReceiver({ signingSecret: process.env.SLACK_SIGNING_SECRET, endpoints: "/slack/events", logLevel: LogLevel.ERROR });
const app = new App({
  token: process.env.SLACK_BOT_TOKEN,
  appToken: process.env.SLACK_APP_TOKEN,
  socketMode: socket,
  receiver,
  logLevel: LogLevel.ERROR,
  clientOptions: { slackApiUrl: process.env.SLACK_API_URL, retryConfig: { retries: 0 } },
});

const text = (words) => ({ type: "plain_text", text: words });
const form = {
  type: "modal",
  callback_id: "form",
  title: text("Form"),
  submit: text("Go"),
  blocks: [{ type: "input", block_id: "name", label: text("Name"), element: { type: "plain_text_input", action_id: "name" } }],
};

// A command: an answer in the acknowledgement, a message with a button and a menu by the Web API.
app.command("/help", async ({ command, ack, say, client }) => {
  await ack({ response_type: "ephemeral", text: `on it: ${command.text}` });
  const who = await client.users.info({ user: command.user_id });
  await say({
    text: `Hello ${who.user.profile.real_name}`,
    metadata: { event_type: "greeting", event_payload: { to: command.user_id } },
    blocks: [
      { type: "section", text: { type: "mrkdwn", text: `Hello *${who.user.profile.real_name}*` } },
      {
        type: "actions",
        block_id: "choice",
        elements: [
          { type: "button", action_id: "open", text: text("Open form"), value: "1" },
          { type: "static_select", action_id: "pick", placeholder: text("Pick"), options: ["AME", "CME"].map((v) => ({ text: text(v), value: v })) },
        ],
      },
    ],
  });
});

// A button: a modal by its trigger.
app.action("open", async ({ ack, body, client }) => {
  await ack();
  await client.views.open({ trigger_id: body.trigger_id, view: { ...form, private_metadata: JSON.stringify({ channel: body.channel.id, ts: body.message.ts }) } });
});

// A menu: an answer by response_url.
app.action("pick", async ({ ack, action, respond }) => {
  await ack();
  await respond({ response_type: "in_channel", replace_original: false, text: `picked ${action.selected_option.value}` });
});

// A submission: refused once, then accepted; the message is edited.
app.view("form", async ({ ack, view, client }) => {
  const name = view.state.values.name.name.value;
  if (name === "wrong") {
    await ack({ response_action: "errors", errors: { name: "not that one" } });
    return;
  }
  await ack();
  const { channel, ts } = JSON.parse(view.private_metadata);
  await client.chat.update({ channel, ts, text: `It is ${name}`, blocks: [] });
});

// A mention: an answer in its thread, and proof that history can be read back.
app.event("app_mention", async ({ event, say, client }) => {
  const history = await client.conversations.history({ channel: event.channel, limit: 1, include_all_metadata: true });
  await say({ thread_ts: event.ts, text: `heard "${history.messages[0].text}"` });
});

// The Home tab, and a message shortcut.
app.event("app_home_opened", async ({ event, client }) => {
  await client.views.publish({ user_id: event.user, view: { type: "home", blocks: [{ type: "header", text: text("At home") }] } });
});
app.shortcut("look", async ({ ack, shortcut, client }) => {
  await ack();
  await client.reactions.add({ channel: shortcut.channel.id, timestamp: shortcut.message.ts, name: "eyes" });
});

// What the sandbox refuses must arrive as Bolt's platform error.
app.message("break a limit", async ({ message, say }) => {
  try {
    await say({ text: "x", blocks: [{ type: "header", text: { type: "mrkdwn", text: "x" } }] });
  } catch (e) {
    await say({ thread_ts: message.ts, text: `refused: ${e.data.error} ${e.data.response_metadata.messages[0]}` });
  }
});

(async () => {
  const server = await app.start(socket ? undefined : { port: 0, host: "127.0.0.1" });
  console.log(socket ? "ready" : `ready ${server.address().port}`);
})().catch((e) => {
  console.error(e);
  process.exit(1);
});

process.on("SIGTERM", () => process.exit(0));
process.stdin.on("end", () => process.exit(0)).resume(); // the test that started it has gone
