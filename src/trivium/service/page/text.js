// Names go onto the page as text, never as markup: every element that holds one is made here.

// What steers a reader's eye or a screen instead of being read: control characters, and marks of direction.
// The joiners U+200C and U+200D stay: emoji and Persian are written with them.
const UNSEEN = /[\p{Cc}\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/gu;

export function visible(text) {
  return String(text).replace(UNSEEN, (mark) => `\\u${mark.codePointAt(0).toString(16).padStart(4, "0")}`);
}

// An element with attributes and children; strings among the children become text.
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

// A name, kept from mixing its direction of writing with its surroundings.
export function name(text) {
  return make("bdi", {}, visible(text));
}

export function fill(element, ...children) {
  element.replaceChildren(...children);
}

export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}
