// OpenAI's client for Node asks a gateway, and tells what it heard as JSON.
import OpenAI from "openai";

const [baseURL, apiKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const model = "tier/worker";
const messages = [{ role: "user", content: "Hello 👋" }];
const heard = { models: [], streamed: "", responded: "", errors: [] };

for await (const one of client.models.list()) heard.models.push(one.id);
heard.shown = (await client.models.retrieve("tier/worker")).id;

const whole = await client.chat.completions.create({ model, messages, seed: 7, stop: null }).withResponse();
heard.whole = whole.data.choices[0].message.content;
heard.provider = whole.response.headers.get("x-orchestrator-provider");
heard.remaining = whole.response.headers.get("x-ratelimit-remaining-requests");
heard.requestId = whole.request_id;

const asked = { model, messages, stream: true, stream_options: { include_usage: true } };
const stream = await client.chat.completions.create(asked).withResponse();
heard.streamProvider = stream.response.headers.get("x-orchestrator-provider");
for await (const chunk of stream.data) {
  heard.streamed += chunk.choices[0]?.delta?.content ?? "";
  if (chunk.usage) heard.usage = chunk.usage.total_tokens;
}

const tool = {
  type: "function",
  function: { name: "add", parameters: { type: "object", properties: { a: { type: "number" } } }, parse: JSON.parse, function: ({ a }) => a + 1 },
};
heard.afterTools = await client.chat.completions.runTools({ model, messages, tools: [tool] }).finalContent();

for await (const event of await client.responses.create({ model, input: "Hello", stream: true }))
  if (event.type === "response.output_text.delta") heard.responded += event.delta;

for (const [other, name] of [[client, "tier/nothing"], [new OpenAI({ baseURL, apiKey: "sk-orch-no", maxRetries: 0 }), model]]) {
  try {
    await other.chat.completions.create({ model: name, messages });
  } catch (error) {
    heard.errors.push([error.constructor.name, error.status, error.code]);
  }
}
console.log(JSON.stringify(heard));
