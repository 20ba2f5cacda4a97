// The peer of the side-by-side bench: @slack/bolt's HTTP receiver, which checks
// the signature, parses the command and acknowledges. It stores nothing.
const { App, HTTPReceiver } = require('../bolt/node_modules/@slack/bolt');

const receiver = new HTTPReceiver({ signingSecret: process.env.SLACK_SIGNING_SECRET, endpoints: '/slack/commands', logLevel: 'error' });
const app = new App({
  receiver,
  logLevel: 'error',
  authorize: async () => ({ botToken: 'xoxb-bench', botId: 'B1', botUserId: 'U0' }),
});
app.command('/rehome', async ({ ack }) => { await ack('noted'); });
receiver.start({ port: Number(process.env.PORT), host: '127.0.0.1' }).then(() => console.log('ready'));
