// The shared part of every script: its arguments and its output.

export const account = { baseURL: process.env.CLIENT_BASE_URL, apiKey: process.env.CLIENT_KEY };

export const parameters = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};

// Seconds on the clock that Python calls time.monotonic.
export const now = () => Number(process.hrtime.bigint()) / 1e9;

// Run the scenarios that the command line names, and print name -> result as JSON, with `ended_at`.
// `local.chat` asks the specialist, `chat` the teacher. An error is a result: its types, status and text.
export async function runScenarios(scenarios) {
  const hosted = scenarios(process.env.CLIENT_MODEL);
  const local = scenarios(process.env.CLIENT_LOCAL);
  const results = {};
  for (const name of process.argv.slice(2)) {
    const scenario = name.replace(/^local\./, "");
    try {
      results[name] = await (scenario === name ? hosted : local)[scenario]();
    } catch (error) {
      const status = error.status ?? error.statusCode ?? null;
      results[name] = { error: types(error), status, message: error.message };
    }
  }
  process.stdout.write(JSON.stringify({ ...results, ended_at: now() }));
}

function types(error) {
  const names = [];
  for (let kind = error.constructor; kind?.name; kind = Object.getPrototypeOf(kind)) names.push(kind.name);
  return names;
}
