// A shell session with ssm-session from npm, the way its README does it: session.mjs URL TOKEN TEXT WANTED
// types TEXT and prints what came once WANTED is in it.
import ssmSession from "ssm-session";
import WebSocket from "ws";

const { ssm } = ssmSession;
const [url, token, text, wanted] = process.argv.slice(2);
const decoder = new TextDecoder();
const connection = new WebSocket(url);
connection.binaryType = "arraybuffer";
let output = "";

connection.onopen = () => ssm.init(connection, { token, termOptions: { rows: 34, cols: 197 } });
connection.onerror = (error) => {
  console.error(error.message);
  process.exit(1);
};
connection.onclose = () => {
  console.error(`closed; had: ${output}`);
  process.exit(1);
};
connection.onmessage = (event) => {
  const message = ssm.decode(event.data);
  ssm.sendACK(connection, message);
  if (message.payloadType !== 1) return;
  const first = output === "";
  output += decoder.decode(message.payload);
  if (first) ssm.sendText(connection, new TextEncoder().encode(text));
  if (output.includes(wanted)) {
    process.stdout.write(output);
    process.exit(0);
  }
};
setTimeout(() => process.exit(2), 60000);
