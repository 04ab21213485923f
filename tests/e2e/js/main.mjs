// The main path with the stock JavaScript client. Prints one JSON object for test_js.py to check.
import {
  SSMClient, CreateActivationCommand, SendCommandCommand, GetCommandInvocationCommand, DescribeInstanceInformationCommand,
  DescribeDocumentCommand, ListCommandsCommand, paginateListCommands, waitUntilCommandExecuted,
} from "@aws-sdk/client-ssm";

const endpoint = process.env.FAIRLEAD_ENDPOINT;
const node = process.env.FAIRLEAD_NODE;
const region = process.env.AWS_DEFAULT_REGION;
const client = new SSMClient({ endpoint, region, maxAttempts: 1 });
const got = { errors: {} };

async function errorOf(name, promise) {
  try {
    await promise;
    got.errors[name] = "none";
  } catch (e) {
    got.errors[name] = e.name;
  }
}

const activation = await client.send(new CreateActivationCommand({
  IamRole: "fleet", ExpirationDate: new Date(Date.now() + 3600678), Tags: [{ Key: "From", Value: "js" }],
}));
got.activation = activation.ActivationCode.length;

const run = { DocumentName: "AWS-RunShellScript", InstanceIds: [node], Parameters: { commands: ["echo hi"] } };
const sent = (await client.send(new SendCommandCommand(run))).Command;
got.expires = Math.round((sent.ExpiresAfter - sent.RequestedDateTime) / 1000);
const waited = await waitUntilCommandExecuted({ client, maxWaitTime: 60, minDelay: 1, maxDelay: 1 },
  { CommandId: sent.CommandId, InstanceId: node });
got.waiter = waited.state;
const result = await client.send(new GetCommandInvocationCommand({ CommandId: sent.CommandId, InstanceId: node }));
got.output = result.StandardOutputContent;
got.code = result.ResponseCode;

await client.send(new SendCommandCommand(run));
const ids = [];
got.pages = 0;
for await (const page of paginateListCommands({ client, pageSize: 1 }, {})) {
  got.pages++;
  for (const c of page.Commands) ids.push(c.CommandId);
  if (got.pages > 1000) throw new Error("pages without end");
}
got.commands = ids.length;
got.unique = new Set(ids).size;

const info = await client.send(new DescribeInstanceInformationCommand({
  Filters: [{ Key: "InstanceIds", Values: [node] }],
}));
got.online = info.InstanceInformationList[0].PingStatus;

await errorOf("unknown-document", client.send(new DescribeDocumentCommand({ Name: "NoSuch" })));
await errorOf("bad-value", client.send(new ListCommandsCommand({ MaxResults: 51 })));
await errorOf("no-invocation", client.send(new GetCommandInvocationCommand({
  CommandId: sent.CommandId, InstanceId: "mi-00000000000000000",
})));
const wrong = new SSMClient({
  endpoint, region, maxAttempts: 1,
  credentials: { accessKeyId: process.env.AWS_ACCESS_KEY_ID, secretAccessKey: "x".repeat(40) },
});
await errorOf("wrong-secret", wrong.send(new ListCommandsCommand({})));

console.log(JSON.stringify(got));
