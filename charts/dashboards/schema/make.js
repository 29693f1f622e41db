// Writes dashboard.schema.json: npm install --no-package-lock && npm run make
const { createGenerator } = require("ts-json-schema-generator");
const { writeFileSync } = require("node:fs");

const schema = createGenerator({ path: "dashboard.ts", tsconfig: "tsconfig.json", type: "UsherDashboard", expose: "none" }).createSchema("UsherDashboard");

// Descriptions make up most of it, and check nothing.
const bare = (value) => {
  if (Array.isArray(value)) return value.map(bare);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).filter(([name, v]) => name !== "description" || typeof v !== "string").map(([name, v]) => [name, bare(v)]));
};
writeFileSync("dashboard.schema.json", JSON.stringify(bare(schema), null, 1) + "\n");
