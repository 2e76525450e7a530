// A fact by hand: names that the graph holds are found, others are new and said to be.

import * as api from "./api.js";
import { combobox } from "./combobox.js";
import { isReviewer, reviewer } from "./review.js";
import { $, address, remember } from "./shell.js";
import { count, fill, make, name, visible } from "./text.js";

export const title = "Add a fact";
const PARTS = { head: "entity", relation: "relation", tail: "entity" };
const chosen = {}; // by part: { text, name }, what stands in its field and what that names

export async function show(view, about) {
  if (!about.keeps) throw new Error("This service takes no facts: it was started without --review.");
  $("add-who").value ||= reviewer();
}

function given(part) {
  const text = $(`add-${part}`).value.trim();
  return chosen[part]?.text === text ? chosen[part].name : text;
}

async function hint(part) {
  const text = given(part);
  const place = $(`add-${part}-hint`);
  place.textContent = "";
  if (!text) return;
  const found = await api.search(text, PARTS[part]).catch(() => []);
  if (given(part) !== text) return;
  const same = found.find((one) => one.name === text || one.label === text);
  place.textContent = same ? `known · ${count(same.facts, "fact")}` : "new: the graph has no such name yet";
  place.classList.toggle("new", !same);
}

for (const [part, kind] of Object.entries(PARTS)) {
  const input = $(`add-${part}`);
  const find = async (text, signal) => {
    const found = await api.search(text, kind, signal);
    if (kind === "entity") remember(...found);
    const options = found.map((one) => ({ value: one, children: [name(one.label), make("span", { class: "hint" }, count(one.facts, "fact"))] }));
    if (text && !found.some((one) => one.label === text || one.name === text)) {
      options.push({ value: { name: text, label: text }, children: [name(text), make("span", { class: "hint" }, "new")] });
    }
    return options;
  };
  combobox(input, $(`add-${part}-options`), find, (one) => {
    input.value = visible(one.label);
    chosen[part] = { text: input.value, name: one.name };
    hint(part);
  });
  input.addEventListener("change", () => hint(part));
}

$("add-who").addEventListener("change", () => isReviewer($("add-who").value));
$("add").addEventListener("submit", async (event) => {
  event.preventDefault();
  const missing = [...Object.keys(PARTS), "who"].find((part) => !$(`add-${part}`).value.trim());
  if (missing) {
    $("add-said").textContent = missing === "who" ? "Say who you are: your name is kept with the fact." : "A fact needs a head, a relation and a tail.";
    $(`add-${missing}`).focus();
    return;
  }
  const fact = Object.fromEntries(Object.keys(PARTS).map((part) => [part, given(part)]));
  $("add-said").textContent = "Telling the graph …";
  try {
    const { decided: [kept] } = await api.tell(fact, $("add-who").value.trim(), $("add-note").value.trim());
    fill($("add-said"), "Kept: the graph holds it now.");
    const words = [make("a", { href: address({ entity: kept.head }) }, name(kept.head)), " ", make("em", {}, name(kept.relation)), " ", make("a", { href: address({ entity: kept.tail }) }, name(kept.tail))];
    $("added").prepend(make("li", { "data-fact": JSON.stringify(kept) }, ...words));
    $("take-back").hidden = false;
    for (const part of ["tail", "note"]) $(`add-${part}`).value = ""; // the next is often of the same head and relation
    $("add-tail-hint").textContent = "";
    $("add-tail").focus();
  } catch (error) {
    $("add-said").textContent = visible(error.message);
  }
});

$("take-back").addEventListener("click", async () => {
  $("add-said").textContent = "Telling the graph …";
  try {
    const { decided: [gone] } = await api.takeBack($("add-who").value.trim());
    const said = gone ? ["Taken back: ", name(gone.head), " ", make("em", {}, name(gone.relation)), " ", name(gone.tail)] : ["You have no decision left to take back."];
    fill($("add-said"), ...said);
    [...$("added").children].find((item) => item.dataset.fact === JSON.stringify(gone))?.remove(); // it may be another's of one's own
    $("take-back").hidden = !$("added").children.length;
  } catch (error) {
    $("add-said").textContent = visible(error.message);
  }
});
