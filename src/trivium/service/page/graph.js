// What the graph holds at a glance, by relation; and one relation completed as a list.

import * as api from "./api.js";
import { $, address, complain, entityLink, go, label, remember, sure } from "./shell.js";
import { count, fill, make, name } from "./text.js";

export const title = "The graph";
const PAGE = 25;
const ROWS = 10;
const PATIENCE = 250; // milliseconds without a key before a part of a name is looked for
let asked; // the parameters of the list that stands there

export async function show(view, about, signal) {
  $("held").hidden = Boolean(view.relation);
  $("completed").hidden = !view.relation;
  const wanted = address(view);
  if (wanted !== asked) await (view.relation ? completed(view.relation, about, signal) : held(view.q, signal));
  asked = wanted;
}

// Facts and relations may be others when one comes back.
export function leave() {
  asked = undefined;
}

async function held(q, signal) {
  if ($("held-find") !== document.activeElement) $("held-find").value = q;
  fill($("held-rows"));
  let got = 0;
  const more = async (limit, signal) => {
    const found = await api.relations(q, got, limit, signal);
    $("held-rows").append(...found.relations.map(heldRow));
    got += found.relations.length;
    $("more-held").hidden = got >= found.total;
    $("held-note").textContent = found.total
      ? "Lack one: entities without an answer, though most that take part in the same other relations have one. A relation’s list asks for these first."
      : "No relation has that in its name.";
  };
  $("more-held").onclick = () => more(PAGE).catch(complain);
  await more(PAGE, signal);
}

function heldRow(one) {
  const first = make("td", {}, make("a", { href: address({ tab: "graph", relation: one.name }) }, name(one.label)));
  const both = one.twins.some((twin) => twin.turned && twin.name === one.name);
  const others = one.twins.filter((twin) => twin.name !== one.name);
  const said = others.map((twin) => [name(twin.label), twin.turned && !both ? " turned round" : ""]).flatMap((part, i) => (i ? [", ", ...part] : part));
  if (both) first.append(" ", make("span", { class: "tag" }, "holds both ways"));
  if (others.length) first.append(make("p", { class: "note" }, "says the same as ", ...said));
  const lack = make("td", {}, one.lacking ? make("a", { href: address({ tab: "graph", relation: one.name }) }, one.lacking.toLocaleString("en")) : "–");
  return make("tr", {}, first, make("td", {}, one.facts.toLocaleString("en")), lack);
}

async function completed(relation, about, signal) {
  fill($("completed-rows"));
  $("more-completed").hidden = true;
  fill($("completed-title"), "Complete ", make("em", {}, name(label(relation))));
  $("completed-measure").textContent = about.calibrated ? "Confidence" : "Score";
  $("completed-about").textContent = "Asking for each that seems to lack an answer …";
  let got = 0;
  const more = async (k, signal) => {
    const found = await api.complete(relation, got, k, signal);
    remember(found.relation, ...found.rows.flatMap((row) => [row.head, ...(row.answer ? [row.answer] : [])]));
    fill($("completed-title"), "Complete ", make("em", {}, name(found.relation.label)));
    $("completed-rows").append(...found.rows.map((row) => completedRow(relation, row, about.calibrated)));
    got += found.rows.length;
    $("more-completed").hidden = got >= found.questions || !found.rows.length;
    const [lacking, rest] = [found.lacking, found.questions - found.lacking];
    $("completed-about").textContent = !found.questions
      ? "Nothing seems to be missing: no entity without an answer is like those that have one, and each of these has its one."
      : [lacking && `${count(lacking, "entity lacks", "entities lack")} an answer though most like them have one, the likeliest first`, rest && `${rest.toLocaleString("en")} may have another one`].filter(Boolean).join("; then ") + ".";
  };
  $("more-completed").onclick = () => more(PAGE).catch(complain);
  await more(ROWS, signal);
}

function completedRow(relation, row, calibrated) {
  const { head, answer, held } = row;
  const first = make("td", {}, entityLink(head.name));
  if (held) first.append(" ", make("span", { class: "tag" }, `has ${held}`));
  const why = answer && make("a", { href: address({ entity: head.name, relation, answer: answer.name }), title: "Why?" }, name(answer.label));
  const measure = !answer ? "–" : calibrated ? sure(answer.confidence) : answer.score.toFixed(2);
  return make("tr", {}, first, make("td", {}, why ?? "nothing is left"), make("td", {}, measure));
}

let timer;
$("held-find").addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(() => go({ tab: "graph", q: $("held-find").value.trim() }), PATIENCE);
});
