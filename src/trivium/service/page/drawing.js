// An answer's paths, drawn between the asked entity and the answer, with some of their other facts around them.

import cytoscape from "./cytoscape.esm.min.mjs";
import { visible } from "./text.js";

const FAN = 78; // pixels from an end to its other facts
const EDGE = 46; // and from those to the frame
let shown;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function style() {
  const [ink, soft, faint, accent, ground, card, warm] = ["ink", "soft", "faint", "accent", "ground", "card", "warm"].map(colour);
  const font = "system-ui, sans-serif";
  return [
    { selector: "node", style: {
      label: "data(label)", "font-size": 13, "font-family": font, color: ink, "text-wrap": "ellipsis", "text-max-width": 130,
      "text-valign": "bottom", "text-margin-y": 4, width: 14, height: 14, "background-color": soft,
      "text-background-color": ground, "text-background-opacity": 0.85, "text-background-padding": 2,
    } },
    { selector: "node.end", style: { width: 22, height: 22, "background-color": accent, "font-weight": 700 } },
    { selector: "node.answer", style: { "background-color": warm } },
    { selector: "node.around", style: { width: 8, height: 8, "background-color": faint, color: soft, "font-size": 11, "text-max-width": 84 } },
    { selector: "edge", style: {
      label: "data(label)", "font-size": 11, "font-family": font, color: soft, "curve-style": "bezier", width: "data(width)",
      "line-color": accent, "target-arrow-color": accent, "target-arrow-shape": "triangle", "arrow-scale": 0.9,
      "text-background-color": ground, "text-background-opacity": 0.9, "text-background-padding": 2, "text-rotation": "autorotate",
      "text-wrap": "ellipsis", "text-max-width": 110,
    } },
    { selector: "edge.asked", style: {
      "line-style": "dashed", "line-color": warm, "target-arrow-color": warm, color: warm, width: 2,
      "curve-style": "unbundled-bezier", "control-point-distances": "data(bow)", "control-point-weights": 0.5,
    } },
    { selector: "edge.around", style: { label: "", width: 1, "line-color": faint, "target-arrow-shape": "none", opacity: 0.6 } },
  ];
}

// Where each entity stands: by its steps from the asked one, then by the path that names it first.
function places(reasons, start, end, container, upright) {
  const longest = Math.max(1, ...reasons.paths.map((path) => path.steps.length));
  const at = new Map([[start, [0, 0]], [end, [longest, 0]]]);
  const taken = new Set();
  reasons.paths.forEach((path, row) => {
    let here = start;
    path.steps.forEach((step, i) => {
      here = step.head === here ? step.tail : step.head;
      if (at.has(here)) return;
      const along = ((i + 1) * longest) / path.steps.length;
      let across = (row % 2 ? 1 : -1) * Math.ceil(row / 2);
      while (taken.has(`${along},${across}`)) across += across < 0 ? -1 : 1;
      taken.add(`${along},${across}`);
      at.set(here, [along, across]);
    });
  });
  const [width, height] = [container.clientWidth, container.clientHeight];
  const [length, breadth] = upright ? [height, width] : [width, height];
  const step = (length - 2 * (FAN + EDGE)) / longest;
  const rows = Math.max(1, ...[...at.values()].map(([, across]) => Math.abs(across)));
  const row = Math.min(90, (breadth / 2 - 45) / (rows + 0.6));
  const spot = ([along, across]) => {
    const [x, y] = [FAN + EDGE + along * step, breadth / 2 + (across - 0.4) * row];
    return upright ? { x: y, y: x } : { x, y };
  };
  return { at: (name) => spot(at.get(name)), bow: (rows + 0.7) * row };
}

// The other facts of one end, in a fan away from the paths.
function fan(elements, facts, centre, name, away, upright) {
  const met = new Set(elements.keys());
  const others = facts.filter((fact) => !met.has(fact.other.label) && met.add(fact.other.label)).slice(0, upright ? 4 : 7);
  others.forEach((fact, i) => {
    const angle = (others.length === 1 ? 0 : (i / (others.length - 1) - 0.5) * 2.1) + (away < 0 ? Math.PI : 0);
    const [along, across] = [Math.cos(angle) * FAN, Math.sin(angle) * FAN];
    const position = upright ? { x: centre.x + across * 1.4, y: centre.y + along } : { x: centre.x + along, y: centre.y + across };
    elements.set(fact.other.label, {
      data: { id: `n${elements.size}`, name: fact.other.name, label: visible(fact.other.label) }, classes: "around", position,
    });
    const id = elements.get(fact.other.label).data.id;
    elements.set(`edge ${name} ${i}`, { data: { id: `a${elements.size}`, source: elements.get(name).data.id, target: id, width: 1 }, classes: "around" });
  });
}

// `around` holds known facts of the two ends; `visit(name)` is called when an entity is clicked.
export function draw(container, reasons, view, around, visit) {
  shown?.destroy();
  const upright = container.clientWidth < 520;
  const [start, end] = [view.entity, view.answer];
  const { at: place, bow: far } = places(reasons, start, end, container, upright);
  const elements = new Map();
  const node = (name) => {
    if (!elements.has(name)) {
      const classes = name === start ? "end" : name === end ? "end answer" : "";
      elements.set(name, { data: { id: `n${elements.size}`, name, label: visible(name) }, classes, position: place(name) });
    }
    return elements.get(name).data.id;
  };
  const heaviest = Math.max(...reasons.paths.map((path) => Math.abs(path.weight)), 1e-9);
  node(start);
  node(end);
  for (const path of reasons.paths) {
    for (const step of path.steps) {
      const [source, target] = [node(step.head), node(step.tail)];
      const key = `edge ${step.head}\n${step.relation}\n${step.tail}`;
      const width = 1.5 + (4 * Math.abs(path.weight)) / heaviest;
      if (!elements.has(key)) elements.set(key, { data: { id: `e${elements.size}`, source, target, label: visible(step.relation), width } });
    }
  }
  const [from, to] = view.inverse ? [end, start] : [start, end];
  if (start !== end) {
    const bow = 2 * far * (view.inverse === upright ? 1 : -1); // the curve's control point: it swings half as far
    elements.set("asked", { data: { id: "asked", source: node(from), target: node(to), label: `${visible(view.relation)} ?`, bow }, classes: "asked" });
  }
  fan(elements, around[0], place(start), start, -1, upright);
  fan(elements, around[1], place(end), end, 1, upright);
  shown = cytoscape({
    container, elements: [...elements.values()], style: style(), layout: { name: "preset", fit: true, padding: 12 },
    minZoom: 0.3, maxZoom: 1.1, userZoomingEnabled: false, boxSelectionEnabled: false, autoungrabify: false,
  });
  shown.on("tap", "node", (event) => visit(event.target.data("name")));
  shown.on("mouseover", "node", () => { container.style.cursor = "pointer"; });
  shown.on("mouseout", "node", () => { container.style.cursor = ""; });
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => shown?.style(style()));
addEventListener("resize", () => shown?.fit(undefined, 16));
