// Judges each document of the array on stdin by AsyncAPI's own parser: prints, as JSON, the errors of each.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const ERROR = 0;
const verdicts = [];
for (const text of JSON.parse(readFileSync(0, "utf8"))) {
  const { document, diagnostics } = await new Parser().parse(text);
  const errors = diagnostics.filter(({ severity }) => severity === ERROR);
  const said = errors.map(({ code, message, path }) => `${code} at ${path.join(".")}: ${message}`);
  if (document === undefined && said.length === 0) said.push("no document");
  verdicts.push(said);
}
console.log(JSON.stringify(verdicts));
