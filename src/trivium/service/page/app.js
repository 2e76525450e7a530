// The page: what the address names is shown; everything that changes what is shown is a link to another address.

import * as api from "./api.js";
import { combobox } from "./combobox.js";
import { draw } from "./drawing.js";
import * as add from "./add.js";
import * as graph from "./graph.js";
import * as review from "./review.js";
import { $, LEGEND, NO_PATH, address, complain, entityLink, go, label, pathItem, question, read, remember, say, spread, sure } from "./shell.js";
import { count, fill, make, name, visible } from "./text.js";

const PAGE = 10;
const FACTS = 60;
const TABS = { graph, review, add };
let view = {};
const showing = { facts: "", answers: "" }; // the addresses of what stands in these sections
let running = new AbortController();
let about;
let relations = []; // of the chosen entity, in both directions

// --- showing -----------------------------------------------------------------------------------------------------

async function show() {
  const before = view;
  view = read();
  running.abort();
  running = new AbortController();
  const { signal } = running;
  $("problem").hidden = true;
  const tab = Object.hasOwn(TABS, view.tab) ? view.tab : "";
  for (const link of document.querySelectorAll("#tabs a")) {
    if (link.dataset.tab === tab) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  for (const other of Object.keys(TABS)) $(`tab-${other}`).hidden = other !== tab;
  $("tab-ask").hidden = tab !== "";
  if (before.tab !== view.tab) {
    TABS[before.tab]?.leave?.();
    if (before.tab) showing.facts = showing.answers = ""; // the graph may hold other facts now
  }
  await (tab ? showTab(tab, signal) : showAsked(before, signal));
  if (document.activeElement === document.body && before.entity !== undefined && (view.entity || before.tab !== view.tab)) $("title").focus();
}

async function showTab(tab, signal) {
  document.title = `${TABS[tab].title} · Trivium`;
  fill($("title"), TABS[tab].title);
  say("Asking the graph …");
  try {
    await TABS[tab].show(view, about, signal);
    say("");
  } catch (error) {
    complain(error);
  }
}

async function showAsked(before, signal) {
  const [facts, answers] = [address({ entity: view.entity }), address({ ...view, answer: "" })];
  $("welcome").hidden = Boolean(view.entity);
  for (const [section, wanted] of [["answers", view.relation], ["why", view.answer], ["facts", view.entity]]) {
    if (!wanted || !view.entity) $(section).hidden = true;
  }
  $("relation").disabled = !view.entity;
  try {
    say(view.entity ? "Asking the graph …" : "");
    if (view.entity && facts !== showing.facts) await showFacts(signal);
    showing.facts = facts;
    $("facts").hidden = !view.entity;
    fields();
    if (view.entity && view.relation) {
      if (answers !== showing.answers) {
        $("why").hidden = true;
        await showAnswers(PAGE, signal);
      }
      showing.answers = answers;
      $("answers").hidden = false;
    }
    mark();
    if (view.answer) await showWhy(signal);
    say("");
  } catch (error) {
    if (error.name === "AbortError") return; // another view is on its way
    $("facts").hidden = facts !== showing.facts;
    $("answers").hidden = answers !== showing.answers;
    $("why").hidden = true;
    complain(error);
  }
}

function fields() {
  $("entity").value = view.entity ? visible(label(view.entity)) : "";
  $("relation").value = !view.relation ? "" : view.inverse
    ? `? ${visible(label(view.relation))} ${visible(label(view.entity))}`
    : `${visible(label(view.entity))} ${visible(label(view.relation))} ?`;
  document.title = view.entity ? `${visible(label(view.entity))} ${visible(label(view.relation))} · Trivium` : "Trivium";
  fill($("title"), view.relation && view.entity ? $("relation").value : $("entity").value || "Ask the graph");
}

async function showAnswers(k, signal) {
  const most = Math.min(k, about.limits.max_k);
  const { answers, cut, relation_label } = await api.rank(view, most, signal);
  remember(...answers, { name: view.relation, label: relation_label });
  fill($("answers-title"), ...question({ ...view, relation: relation_label }, "…?"));
  $("known").checked = view.known;
  $("range").value = view.range;
  const calibrated = about.calibrated && (!answers.length || answers.some((one) => one.known || one.confidence !== null));
  $("measure").textContent = calibrated ? "Confidence" : "Score";
  fill($("rows"), ...answers.map((answer) => row(answer, calibrated)));
  $("more-answers").hidden = answers.length < most || most >= about.limits.max_k;
  $("more-answers").onclick = () => showAnswers(k * 3, running.signal).then(mark).catch(complain);
  const last = answers.at(-1);
  const tie = cut ? `${count(last.tied, "answer")} share rank ${last.rank}, of which ${cut} are not shown: nothing tells them apart. ` : "";
  $("note").textContent = tie + (!answers.length ? "Nothing is left to answer: the graph holds every candidate already."
    : calibrated ? "Confidence: the estimated chance that an answer ranked like this is true though the graph does not hold it. Where the graph has many gaps it errs low; where it lacks no answer to this question, high."
    : "A score orders the answers to one question; it is no probability. Start the service with a calibration to see confidences.");
}

function row(answer, calibrated) {
  const link = make("a", { href: address({ ...view, answer: answer.name }), title: "Why?" }, name(answer.label));
  if (answer.known) link.append(make("span", { class: "tag" }, "known"));
  else if (answer.reversed) link.append(make("span", { class: "tag" }, "known turned round"));
  const measure = calibrated ? sure(answer.confidence) : answer.score.toFixed(2);
  const line = make("tr", {}, make("td", {}, answer.tied > 1 ? `${answer.rank} (${answer.tied} tie)` : String(answer.rank)), make("td", {}, link), make("td", {}, measure));
  line.answer = answer.name;
  return line;
}

// Which answer is open; the rows stay, so that the keyboard keeps its place.
function mark() {
  for (const line of $("rows").children) {
    const open = line.answer === view.answer;
    line.classList.toggle("open", open);
    const link = line.querySelector("a");
    link.href = address({ ...view, answer: open ? "" : line.answer });
    if (open) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

async function showWhy(signal) {
  const [reasons, ...ends] = await Promise.all([
    api.explain(view, signal),
    api.entity(view.entity, 0, 40, signal),
    api.entity(view.answer, 0, 40, signal),
  ]);
  ends.forEach((end) => remember(end, ...end.facts.map((fact) => fact.other)));
  fill($("why-title"), "Why ", entityLink(view.answer), "?");
  $("close").href = address({ ...view, answer: "" });
  $("why").hidden = false;
  const around = ends.map((end) => spread(end.facts));
  const shown = { ...view, entity: label(view.entity), answer: label(view.answer) }; // paths speak in labels
  draw($("drawing"), reasons, shown, around, (entity) => go({ entity }));
  $("drawing").setAttribute("aria-label", `Drawing of the paths listed below, from ${visible(label(view.entity))} to ${visible(label(view.answer))}`);
  $("legend").textContent = reasons.reached && reasons.paths.length ? LEGEND : NO_PATH;
  fill($("paths"), ...reasons.paths.map((path) => pathItem(path, label(view.entity))));
  const leaned = Object.entries(reasons.leaned_on ?? {});
  fill($("leaned-list"), ...leaned.flatMap(([part, value]) => [make("dt", {}, visible(part)), make("dd", {}, visible(plain(value)))]));
  $("leaned").hidden = !leaned.length;
}

function plain(value) {
  if (Array.isArray(value)) return value.map(plain).join("; ");
  if (value && typeof value === "object") return Object.entries(value).map(([key, part]) => `${key} ${plain(part)}`).join(", ");
  return typeof value === "number" && !Number.isInteger(value) ? value.toFixed(3) : String(value);
}

async function showFacts(signal) {
  const found = await api.entity(view.entity, 0, FACTS, signal);
  remember(found, ...found.relations.map((one) => ({ name: one.relation, label: one.label })));
  relations = found.relations;
  fill($("fact-list"));
  let last;
  const add = (facts) => {
    for (const fact of facts) {
      remember(fact.other);
      const key = `${fact.relation}\n${fact.inverse}`;
      if (key !== last?.key) {
        const ask = make("a", { href: address({ entity: view.entity, relation: fact.relation, inverse: fact.inverse }), title: "Ask for more like these" }, name(fact.label));
        last = { key, list: make("ul") };
        const term = fact.inverse ? ["… ", ask, " ", name(found.label)] : [ask];
        $("fact-list").append(make("dt", {}, ...term), make("dd", {}, last.list));
      }
      last.list.append(make("li", {}, entityLink(fact.other.name)));
    }
  };
  add(found.facts);
  let got = found.facts.length;
  fill($("facts-title"), "What the graph says of ", name(found.label), ` · ${count(found.total, "fact")}`);
  $("more-facts").hidden = got >= found.total;
  $("more-facts").onclick = async () => {
    try {
      const next = await api.entity(found.name, got, FACTS, running.signal);
      add(next.facts);
      got += next.facts.length;
      $("more-facts").hidden = got >= found.total;
    } catch (error) {
      complain(error);
    }
  };
}

// --- asking ------------------------------------------------------------------------------------------------------

async function findEntities(text, signal) {
  const found = await api.search(text, "entity", signal);
  remember(...found);
  return found.map((one) => ({
    value: one.name,
    children: [name(one.label), make("span", { class: "hint" }, count(one.facts, "fact"))],
  }));
}

// The entity's own relations first, in both directions, then others by name.
async function findRelations(text, signal) {
  const wanted = text.toLowerCase();
  const own = relations.filter((one) => one.label.toLowerCase().includes(wanted));
  const options = own.map((one) => option(one.relation, one.label, one.inverse, `${one.facts} known`));
  const held = new Set(relations.map((one) => `${one.relation}\n${one.inverse}`));
  for (const one of await api.search(text, "relation", signal)) {
    for (const inverse of [false, true]) {
      if (!held.has(`${one.name}\n${inverse}`)) options.push(option(one.name, one.label, inverse, ""));
    }
  }
  return options;
}

function option(relation, text, inverse, hint) {
  const asked = question({ entity: view.entity, relation: text, inverse }, "?");
  return { value: { relation, inverse }, children: [make("span", {}, ...asked), make("span", { class: "hint" }, hint)] };
}

combobox($("entity"), $("entity-options"), findEntities, (entity) => {
  go({ entity });
  $("relation").disabled = false;
  $("relation").focus();
});
combobox($("relation"), $("relation-options"), findRelations, (chosen) => go({ ...view, ...chosen, answer: "" }));
$("ask").addEventListener("submit", (event) => event.preventDefault());
$("range").addEventListener("change", () => go({ ...view, range: $("range").value, answer: "" }));
$("known").addEventListener("change", () => go({ ...view, known: $("known").checked, answer: "" }));
addEventListener("hashchange", show);

try {
  about = await api.info();
  $("about").textContent = `${visible(about.graph.file)} · ${count(about.graph.entities, "entity", "entities")} · ${count(about.graph.relations, "relation")} · ${count(about.graph.triples, "fact")}`;
  const kinds = { all: "every kind", seen: "what was seen there", type: "the types seen there" };
  const usual = about.range || "all";
  fill($("range"), ...[usual, ...about.ranges.filter((one) => one !== usual)].map((one, place) =>
    make("option", { value: place ? one : "" }, visible(kinds[one] ?? one))));
  fill($("examples"), ...about.examples.map((one) =>
    make("li", {}, make("a", { href: address({ entity: one.head, relation: one.relation }) }, ...question({ entity: one.head, relation: one.relation }, "…?")))));
  $("to-review").hidden = !about.reviews;
  $("to-add").hidden = !about.keeps;
  await show();
} catch (error) {
  complain(error);
}
