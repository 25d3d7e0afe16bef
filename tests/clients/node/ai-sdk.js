// The Vercel AI SDK: its models use the Responses API unless chat is requested.
import { createOpenAI } from "@ai-sdk/openai";
import { embed, generateText, jsonSchema, Output, streamText, tool } from "ai";
import { account, now, parameters, runScenarios } from "./script.js";

const openai = createOpenAI(account);
const tools = { find: tool({ inputSchema: jsonSchema(parameters) }) };
const output = Output.object({ schema: jsonSchema(parameters) });

async function streamed(options) {
  let failure = null;
  const stream = streamText({ ...options, onError: ({ error }) => (failure = error) });
  let text = "";
  for await (const piece of stream.textStream) text += piece;
  if (failure) throw failure;
  return { text };
}

async function streamCalled(options) {
  const stream = streamText({ ...options, prompt: "call", tools });
  const [call] = await stream.toolCalls;
  return { name: call.toolName, arguments: JSON.stringify(call.input) };
}

async function structured(options) {
  const made = await generateText({ ...options, prompt: "json", output });
  return { json: JSON.stringify(made.output) };
}

async function cancelled(options) {
  const control = new AbortController();
  const stream = streamText({ ...options, prompt: "endless", abortSignal: control.signal, onError: () => {} });
  for await (const part of stream.fullStream) if (part.type === "text-delta") break;
  const left_at = now();
  control.abort();
  return { left_at };
}

function scenarios(name) {
  const chat = { model: openai.chat(name) };
  const responses = { model: openai.responses(name), providerOptions: { openai: { store: false } } };

  return {
    chat: async () => ({ text: (await generateText({ ...chat, prompt: "text" })).text }),
    stream: () => streamed({ ...chat, prompt: "text" }),
    tools: async () => {
      const [call] = (await generateText({ ...chat, prompt: "call", tools })).toolCalls;
      return { name: call.toolName, arguments: JSON.stringify(call.input) };
    },
    stream_tools: () => streamCalled(chat),
    structured: () => structured(chat),
    embeddings: async () => {
      const made = await embed({ model: openai.embedding("text-embedding-3-small"), value: "x" });
      return { vector: made.embedding };
    },
    responses: async () => ({ text: (await generateText({ ...responses, prompt: "text" })).text }),
    response_stream: () => streamed({ ...responses, prompt: "text" }),
    response_tools: () => streamCalled(responses),
    response_structured: () => structured(responses),
    refused_400: () => generateText({ ...chat, prompt: "say 400" }),
    refused_404: () => generateText({ ...chat, prompt: "say 404" }),
    refused_429: () => generateText({ ...chat, prompt: "say 429", maxRetries: 0 }),
    refused_500: () => generateText({ ...chat, prompt: "say 500", maxRetries: 0 }),
    cut: () => streamed({ ...chat, prompt: "cut" }),
    response_cut: () => streamed({ ...responses, prompt: "cut" }),
    cancel: () => cancelled(chat),
  };
}

await runScenarios(scenarios);
