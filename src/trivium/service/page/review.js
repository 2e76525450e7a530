// Suggested links, one at a time: what is decided is kept before the next one shows, whose reasons are there already.

import * as api from "./api.js";
import { draw } from "./drawing.js";
import { $, LEGEND, NO_PATH, address, complain, entityLink, go, label, pathItem, remember, spread, sure } from "./shell.js";
import { count, fill, make, name, visible } from "./text.js";

export const title = "Review";
const KEYS = { a: "accepted", r: "rejected", d: "undecided" };
const WORDS = { accepted: "Accepted", rejected: "Rejected", undecided: "Left open" };
const FACTS = 12; // of each end
const SAME = 6; // of these at most of the link's own relation, which come first
const FETCHED = 40;
let view;
let now; // the link that is shown
let busy = false;
let shown = false; // whether this tab is
let ready = new Map(); // reasons of links, by key: promises
let preparing = Promise.resolve();

const key = (link) => [link.head.name, link.relation.name, link.tail.name].join("\n");
const triple = (link) => ({ head: link.head.name, relation: link.relation.name, tail: link.tail.name });
const words = (link) => [name(link.head.label), " ", make("em", {}, name(link.relation.label)), " ", name(link.tail.label)];

function choice() {
  return { relation: view.relation ? [view.relation] : [], min_confidence: view.least ? Number(view.least) : null, doubtful_first: view.doubtful };
}

export async function show(wanted, about, signal) {
  view = wanted;
  shown = true;
  if (!about.reviews) throw new Error("There is nothing to review: the service was started without suggestions.");
  $("review-who").value ||= reviewer();
  present(await api.review(choice(), signal));
}

export function leave() {
  shown = false;
  now = undefined;
  $("review-said").textContent = "";
}

// Whose decisions these are: asked once, kept in this browser.
export function reviewer() {
  return localStorage.getItem("trivium-reviewer") ?? "";
}

export function isReviewer(text) {
  localStorage.setItem("trivium-reviewer", text.trim());
  for (const field of ["review-who", "add-who"]) $(field).value = text.trim();
}

// --- showing -----------------------------------------------------------------------------------------------------

function present(reply) {
  for (const link of reply.links) remember(link.head, link.relation, link.tail);
  progress(reply);
  filters(reply);
  const [next] = reply.links;
  $("reviewing").hidden = !next;
  $("review-done").hidden = Boolean(next);
  prepare(reply.links);
  if (!next) {
    now = undefined;
    done(reply);
  } else if (!now || key(next) !== key(now)) {
    now = next;
    showLink(next);
  } else {
    now = next;
  }
  if (next) like(next);
}

function progress({ counts, waiting, unknown, of_another }) {
  const decided = counts.accepted + counts.rejected + counts.undecided;
  const all = decided + counts.waiting;
  $("progress-title").textContent = `${decided.toLocaleString("en")} of ${count(all, "link")} decided`;
  $("review-bar").max = Math.max(all, 1);
  $("review-bar").value = decided;
  const parts = [`${counts.accepted.toLocaleString("en")} accepted`, `${counts.rejected.toLocaleString("en")} rejected`, `${counts.undecided.toLocaleString("en")} left open`];
  if (waiting !== counts.waiting) parts.push(`${waiting.toLocaleString("en")} of your choice wait`);
  $("review-counts").textContent = parts.join(" · ");
  const notes = [];
  if (of_another) notes.push("These suggestions were made of another graph: their confidences are of that one.");
  if (unknown) notes.push(`${count(unknown, "suggestion names", "suggestions name")} what this graph lacks, and ${unknown === 1 ? "is" : "are"} left out.`);
  $("review-note").textContent = notes.join(" ");
  $("review-note").hidden = !notes.length;
}

function filters({ relations, confident, counts }) {
  const options = relations.map((one) => make("option", { value: one.name }, visible(`${one.label} (${one.waiting.toLocaleString("en")})`)));
  if (view.relation && !relations.some((one) => one.name === view.relation)) options.unshift(make("option", { value: view.relation }, visible(`${label(view.relation)} (0)`)));
  fill($("review-relation"), make("option", { value: "" }, `all (${counts.waiting.toLocaleString("en")})`), ...options);
  $("review-relation").value = view.relation;
  $("review-least").value = view.least;
  $("review-least").disabled = $("review-doubtful").disabled = !confident;
  $("review-doubtful").checked = view.doubtful;
}

function done({ counts }) {
  const chosen = counts.waiting > 0;
  $("done-title").textContent = chosen ? "Nothing of your choice waits" : "Nothing waits any more";
  fill($("done-note"), ...(chosen
    ? [`${count(counts.waiting, "other link waits", "other links wait")}. `, make("a", { href: "#tab=review" }, "Show all of them")]
    : ["Every suggestion is decided. ", make("code", {}, "trivium export"), " takes the accepted ones home."]));
}

function showLink(link) {
  fill($("link-title"), ...words(link));
  fill($("link-sure"), ...(link.confidence === null ? ["suggested without a confidence"] : ["suggested with confidence ", sure(link.confidence)]));
  $("link-note").value = "";
  if ($("link-title").getBoundingClientRect().top < 0) $("review-said").scrollIntoView(); // nobody decides what is out of sight
  for (const part of ["link-drawing", "link-paths", "head-facts", "tail-facts"]) $(part).classList.add("waits");
  reasonsOf(link).then(
    (reasons) => now && key(now) === key(link) && shown && showReasons(link, reasons),
    (error) => {
      if (now && key(now) === key(link) && shown) complain(error);
    },
  );
}

function showReasons(link, [reasons, ...ends]) {
  for (const part of ["link-drawing", "link-paths", "head-facts", "tail-facts"]) $(part).classList.remove("waits");
  ends.forEach((end) => remember(end, ...end.facts.map((fact) => fact.other)));
  const asked = { entity: label(link.head.name), answer: label(link.tail.name), relation: link.relation.label, inverse: false };
  draw($("link-drawing"), reasons, asked, ends.map((end) => spread(end.facts)), (entity) => go({ entity }));
  $("link-drawing").setAttribute("aria-label", `Drawing of the paths listed below, from ${visible(link.head.label)} to ${visible(link.tail.label)}`);
  $("link-legend").textContent = reasons.reached && reasons.paths.length ? LEGEND : NO_PATH;
  fill($("link-paths"), ...reasons.paths.map((path) => pathItem(path, asked.entity)));
  known("head", ends[0], link.relation.name, false);
  $("tail-known").hidden = link.head.name === link.tail.name;
  known("tail", ends[1], link.relation.name, true);
}

function known(end, found, relation, inverse) {
  fill($(`${end}-title`), entityLink(found.name), ` · ${count(found.total, "fact")}`);
  const groups = new Map();
  const same = found.facts.filter((fact) => fact.relation === relation && fact.inverse === inverse).slice(0, SAME);
  for (const fact of [...new Set([...same, ...spread(found.facts)])].slice(0, FACTS)) {
    const term = fact.inverse ? ["… ", name(fact.label)] : [name(fact.label)];
    const id = `${fact.relation}\n${fact.inverse}`;
    if (!groups.has(id)) groups.set(id, { term, list: make("ul") });
    groups.get(id).list.append(make("li", {}, entityLink(fact.other.name)));
  }
  for (const one of found.relations) {
    const list = groups.get(`${one.relation}\n${one.inverse}`)?.list;
    if (list && list.children.length < one.facts) list.append(make("li", { class: "hint" }, `+ ${one.facts - list.children.length}`));
  }
  fill($(`${end}-facts`), ...[...groups.values()].flatMap(({ term, list }) => [make("dt", {}, ...term), make("dd", {}, list)]));
}

function like(link) {
  const [head, relation, tail] = [name(link.head.label), make("em", {}, name(link.relation.label)), name(link.tail.label)];
  const ofHead = link.like.filter((other) => other.head.name === link.head.name);
  const ofTail = link.like.filter((other) => other.head.name !== link.head.name);
  $("like").hidden = !link.like.length;
  fill($("like-list"), ...[
    [[head, " ", relation, " …"], ofHead, "tail"],
    [["… ", relation.cloneNode(true), " ", tail], ofTail, "head"],
  ].filter(([, links]) => links.length).flatMap(([asked, links, end]) => [
    make("h3", {}, ...asked),
    make("ul", { class: "like" }, ...links.map((other) => make("li", {}, name(other[end].label), likely(other)))),
  ]));
}

function likely(link) {
  return make("span", { class: "hint" }, link.verdict ? make("span", { class: "tag" }, WORDS[link.verdict].toLowerCase()) : sure(link.confidence));
}

// What is known of an end of a link: its first facts, and some of the link's own relation wherever they stand.
async function factsOf(entity, relation, inverse) {
  const found = await api.entity(entity, 0, FETCHED);
  const place = found.relations.findIndex((one) => one.relation === relation && one.inverse === inverse);
  const before = found.relations.slice(0, Math.max(place, 0)).reduce((sum, one) => sum + one.facts, 0);
  if (before >= FETCHED) found.facts.push(...(await api.entity(entity, before, SAME)).facts);
  return found;
}

// --- reasons, prepared ahead --------------------------------------------------------------------------------------

function reasonsOf(link) {
  const id = key(link);
  if (!ready.has(id)) {
    const found = preparing.then(() => Promise.all([
      api.why(link.head.name, link.relation.name, link.tail.name),
      ...[link.head, link.tail].map((end, inverse) => factsOf(end.name, link.relation.name, Boolean(inverse))),
    ]));
    found.catch(() => ready.delete(id)); // it is asked for again when its turn comes
    preparing = found.catch(() => undefined); // one after the other: the first comes first
    ready.set(id, found);
  }
  return ready.get(id);
}

function prepare(links) {
  const wanted = new Set(links.map(key));
  ready = new Map([...ready].filter(([id]) => wanted.has(id)));
  links.forEach(reasonsOf);
}

// --- deciding -----------------------------------------------------------------------------------------------------

async function act(ask, said) {
  if (busy) return;
  if (!$("review-who").value.trim()) {
    tell("Say first who you are: your name is kept with each decision.");
    $("review-keys").checked = localStorage.getItem("trivium-keys") !== "off";
$("review-keys").addEventListener("change", () => localStorage.setItem("trivium-keys", $("review-keys").checked ? "on" : "off"));
$("review-choose").open = true;
    $("review-who").focus();
    return;
  }
  busy = true;
  $("problem").hidden = true;
  try {
    const reply = await ask($("review-who").value.trim());
    tell(...said(reply));
    if (shown) present(reply);
  } catch (error) {
    if (error.status === 409 || error.status === 422) await again(error);
    else complain(error); // nothing was lost: the same key asks again
  } finally {
    busy = false;
  }
}

function decide(verdict) {
  const link = now;
  if (!link) return;
  act((who) => api.judge(triple(link), verdict, who, $("link-note").value.trim(), choice()), () => [`${WORDS[verdict]}: `, ...words(link)]);
}

function undo() {
  act((who) => api.undo(who, choice()), ({ undone }) => {
    if (!undone) return ["You have no decision left to undo."];
    const called = { head: label(undone.head), relation: label(undone.relation), tail: label(undone.tail) };
    return ["Taken back: ", name(called.head), " ", make("em", {}, name(called.relation)), " ", name(called.tail)];
  });
}

// Somebody else was quicker, or the suggestions are others: says so, and looks again.
async function again(error) {
  tell(visible(error.message));
  try {
    const reply = await api.review(choice());
    if (shown) present(reply);
  } catch (failed) {
    complain(failed);
  }
}

function tell(...parts) {
  fill($("review-said"), ...parts);
}

$("review-keys").checked = localStorage.getItem("trivium-keys") !== "off";
$("review-keys").addEventListener("change", () => localStorage.setItem("trivium-keys", $("review-keys").checked ? "on" : "off"));
$("review-choose").open = matchMedia("(min-width: 40.01rem)").matches; // on a phone the link comes first
for (const button of document.querySelectorAll("[data-verdict]")) button.addEventListener("click", () => decide(button.dataset.verdict));
$("undo").addEventListener("click", undo);
addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input:not([type=checkbox]), select, textarea, dialog");
  if (!shown || typing || !$("review-keys").checked || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const pressed = event.key.toLowerCase();
  if (KEYS[pressed]) decide(KEYS[pressed]);
  else if (pressed === "u") undo();
  else if (pressed === "n" && now) $("link-note").focus();
  else return;
  event.preventDefault();
});
$("link-note").addEventListener("keydown", (event) => {
  if (event.key === "Enter" || event.key === "Escape") event.target.blur(); // then keys decide again
});
$("review-choice").addEventListener("submit", (event) => {
  event.preventDefault();
  document.activeElement.blur();
});
for (const field of ["review-relation", "review-least", "review-doubtful"]) {
  $(field).addEventListener("change", () =>
    go({ tab: "review", relation: $("review-relation").value, least: $("review-least").value, doubtful: $("review-doubtful").checked }));
}
$("review-who").addEventListener("change", () => {
  isReviewer($("review-who").value);
  tell(); // what asked for it
});
document.addEventListener("visibilitychange", async () => {
  if (!shown || busy || document.hidden) return;
  try {
    present(await api.review(choice())); // others may have decided meanwhile
  } catch (error) {
    complain(error);
  }
});
