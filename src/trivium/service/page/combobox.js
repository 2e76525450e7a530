// A text field with a list of suggestions, by mouse and by keyboard (the ARIA combobox pattern).

import { fill, make } from "./text.js";

const PATIENCE = 120; // milliseconds without a key before the service is asked

// `find(text, signal)` gives options { children: [...], value }; `choose(value)` takes the chosen one.
export function combobox(input, list, find, choose) {
  let options = [];
  let active = -1;
  let timer;
  let running;

  input.setAttribute("role", "combobox");
  input.setAttribute("aria-autocomplete", "list");
  input.setAttribute("aria-expanded", "false");
  input.setAttribute("aria-controls", list.id);
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", document.querySelector(`label[for=${input.id}]`).textContent);

  function close() {
    clearTimeout(timer);
    running?.abort();
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function activate(place) {
    active = place;
    [...list.children].forEach((item, i) => item.setAttribute("aria-selected", i === place ? "true" : "false"));
    if (place >= 0 && options.length) {
      input.setAttribute("aria-activedescendant", list.children[place].id);
      list.children[place].scrollIntoView({ block: "nearest" });
    } else {
      input.removeAttribute("aria-activedescendant");
    }
  }

  async function open(text) {
    running?.abort();
    running = new AbortController();
    try {
      options = await find(text, running.signal);
    } catch (error) {
      if (error.name === "AbortError") return;
      options = [];
    }
    const items = options.map((option, i) => make("li", { role: "option", id: `${list.id}-${i}` }, ...option.children));
    if (!items.length) items.push(make("li", { role: "option", "aria-disabled": "true" }, "Nothing is called like that"));
    fill(list, ...items);
    list.hidden = false;
    list.scrollTop = 0;
    input.setAttribute("aria-expanded", "true");
    activate(options.length && text ? 0 : -1);
  }

  function pick(place) {
    const option = options[place];
    if (!option) return;
    close();
    choose(option.value);
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => open(input.value.trim()), PATIENCE);
  });
  input.addEventListener("focus", () => input.select());
  input.addEventListener("click", () => list.hidden && open(""));
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) return void open("");
      const step = event.key === "ArrowDown" ? 1 : -1;
      if (options.length) activate((active + step + options.length + (active < 0 && step < 0 ? 1 : 0)) % options.length);
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (list.hidden) open(input.value.trim());
      else pick(active);
    } else if (event.key === "Escape" && !list.hidden) {
      event.preventDefault();
      close();
    }
  });
  list.addEventListener("pointerdown", (event) => event.preventDefault()); // the field keeps the focus
  list.addEventListener("click", (event) => pick([...list.children].indexOf(event.target.closest("li"))));
}
