// What every script shares: how it is asked, and how it tells.

export const account = { baseURL: process.env.CLIENT_BASE_URL, apiKey: process.env.CLIENT_KEY };

export const parameters = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};

// Seconds on the clock which Python calls time.monotonic.
export const now = () => Number(process.hrtime.bigint()) / 1e9;

// Run the scenarios which the command line names, and print name -> result as JSON. `local.chat`
// asks the specialist, `chat` the teacher. An error is a result: its types, status and text.
export async function tell(scenarios) {
  const hosted = scenarios(process.env.CLIENT_MODEL);
  const local = scenarios(process.env.CLIENT_LOCAL);
  const told = {};
  for (const name of process.argv.slice(2)) {
    const scenario = name.replace(/^local\./, "");
    try {
      told[name] = await (scenario === name ? hosted : local)[scenario]();
    } catch (fault) {
      const status = fault.status ?? fault.statusCode ?? null;
      told[name] = { error: types(fault), status, message: fault.message };
    }
  }
  process.stdout.write(JSON.stringify(told));
}

function types(fault) {
  const names = [];
  for (let kind = fault.constructor; kind?.name; kind = Object.getPrototypeOf(kind)) names.push(kind.name);
  return names;
}
