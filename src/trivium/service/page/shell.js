// What every view needs: addresses, names that were met, and what the page says of itself.

import { make, name, visible } from "./text.js";

export const $ = (id) => document.getElementById(id);

const KEYS = ["tab", "entity", "relation", "inverse", "known", "range", "answer", "least", "doubtful", "q"];
const FLAGS = new Set(["inverse", "known", "doubtful"]);

// What the address names.
export function read() {
  const given = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(KEYS.map((key) => [key, FLAGS.has(key) ? given.has(key) : given.get(key) ?? ""]));
}

export function address(parts) {
  const chosen = new URLSearchParams();
  for (const key of KEYS) {
    if (parts[key]) chosen.set(key, parts[key] === true ? "1" : parts[key]);
  }
  return `#${chosen}`;
}

export function go(parts) {
  location.hash = address(parts);
}

const labels = new Map(); // of entities and relations that were met, by name

export function remember(...found) {
  for (const one of found) labels.set(one.name, one.label);
}

export function label(entity) {
  return labels.get(entity) ?? entity;
}

export function entityLink(entity, text = label(entity)) {
  return make("a", { href: address({ entity }) }, name(text));
}

export function question(parts, gap) {
  const [entity, relation] = [name(label(parts.entity)), make("em", {}, name(parts.relation))];
  return parts.inverse ? [gap, " ", relation, " ", entity] : [entity, " ", relation, " ", gap];
}

export function say(text) {
  $("status").textContent = text;
  document.querySelector("main").setAttribute("aria-busy", text ? "true" : "false");
}

export function complain(error) {
  if (error.name === "AbortError") return;
  $("problem").textContent = visible(error.message);
  $("problem").hidden = false;
  say("");
}

// A confidence as a bar and a number; "–" where there is none.
export function sure(confidence) {
  if (confidence === null) return "–";
  const percent = Math.round(100 * confidence);
  return make("span", { class: "sure" }, make("meter", { value: confidence, "aria-label": `confidence ${percent} %` }), `${percent} %`);
}

// A path of an explanation, whose names are labels, from one end.
export function pathItem(path, start) {
  let here = start;
  const parts = [entityLink(here, here)];
  for (const step of path.steps) {
    const forward = step.head === here;
    here = forward ? step.tail : step.head;
    const arrow = make("span", { class: "step" }, forward ? " — " : " ← ", name(step.relation), forward ? " → " : " — ");
    parts.push(arrow, entityLink(here, here));
  }
  return make("li", {}, make("span", { class: "weight", title: "weight: how much of the score it carried" }, path.weight.toFixed(3)), make("span", {}, ...parts));
}

// Of each relation one fact, then of each a second one, and so on: a varied few.
export function spread(facts) {
  const seen = new Map();
  return facts
    .map((fact) => {
      const key = `${fact.relation} ${fact.inverse}`;
      seen.set(key, (seen.get(key) ?? 0) + 1);
      return [seen.get(key), fact];
    })
    .sort((a, b) => a[0] - b[0])
    .map(([, fact]) => fact);
}

export const LEGEND = "Solid lines carried the score, thicker ones more of it; the dashed line is what was asked; grey is some of what else the graph knows.";
export const NO_PATH = "No path of the graph leads from the question to this answer, so its score rests on the relation alone.";
