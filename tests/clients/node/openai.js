// openai for Node.
import OpenAI from "openai";
import { account, now, parameters, runScenarios } from "./script.js";

const client = new OpenAI({ ...account, timeout: 100_000 });
const tool = { type: "function", function: { name: "find", strict: true, parameters } };
const toolOfResponses = { type: "function", name: "find", strict: true, parameters };
const schema = { name: "place", strict: true, schema: parameters };

const called = ({ name, arguments: written }) => ({ name, arguments: written });

async function every(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return pieces;
}

function scenarios(model) {
  const ask = (text, more = {}, options = {}) =>
    client.chat.completions.create({ model, messages: [{ role: "user", content: text }], ...more }, options);
  const respond = (text, more = {}) => client.responses.create({ model, input: text, store: false, ...more });

  return {
    chat: async () => ({ text: (await ask("text")).choices[0].message.content }),
    stream: async () => {
      const chunks = await every(await ask("text", { stream: true, stream_options: { include_usage: true } }));
      const text = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");
      return { text, has_usage: chunks.at(-1).usage != null };
    },
    tools: async () => called((await ask("call", { tools: [tool] })).choices[0].message.tool_calls[0].function),
    stream_tools: async () => {
      const messages = [{ role: "user", content: "call" }];
      const stream = client.chat.completions.stream({ model, messages, tools: [tool] });
      return called((await stream.finalChatCompletion()).choices[0].message.tool_calls[0].function);
    },
    structured: async () => {
      const made = await ask("json", { response_format: { type: "json_schema", json_schema: schema } });
      return { json: made.choices[0].message.content };
    },
    embeddings: async () => {
      const made = await client.embeddings.create({ model: "text-embedding-3-small", input: "x" });
      return { vector: Array.from(made.data[0].embedding) };
    },
    responses: async () => ({ text: (await respond("text")).output_text }),
    response_stream: async () => {
      const stream = client.responses.stream({ model, input: "text", store: false });
      return { text: (await stream.finalResponse()).output_text };
    },
    response_tools: async () => {
      const stream = client.responses.stream({ model, input: "call", store: false, tools: [toolOfResponses] });
      return called((await stream.finalResponse()).output[0]);
    },
    response_structured: async () => {
      const made = await respond("json", { text: { format: { type: "json_schema", ...schema } } });
      return { json: made.output_text };
    },
    refused_400: () => ask("say 400"),
    refused_404: () => ask("say 404"),
    refused_429: () => ask("say 429"),
    refused_500: () => ask("say 500"),
    cut: async () => every(await ask("cut", { stream: true })),
    response_cut: async () => every(await respond("cut", { stream: true })),
    cancel: async () => {
      const stream = await ask("endless", { stream: true });
      for await (const _ of stream) break; // this aborts the request
      return { left_at: now() };
    },
    cancel_early: async () => {
      const control = new AbortController();
      const waiting = ask("endless", {}, { signal: control.signal }).catch((error) => error.constructor.name);
      await new Promise((go) => setTimeout(go, 300));
      const left_at = now();
      control.abort();
      return { left_at, is_cancelled: (await waiting) === "APIUserAbortError" };
    },
  };
}

await runScenarios(scenarios);
