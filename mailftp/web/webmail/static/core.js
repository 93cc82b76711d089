// What everything on the page is made of: cells that are watched, and elements made of values.

let watching = null;
const waiting = new Set();

// A value that knows who has read it. `cell()` reads, `cell.set(value)` writes, `cell.peek()` reads unseen.
export function cell(value) {
  const watchers = new Set();
  const read = () => {
    if (watching) {
      watchers.add(watching);
      watching.sources.add(watchers);
    }
    return value;
  };
  read.peek = () => value;
  read.set = (next) => {
    if (Object.is(next, value)) return;
    value = next;
    for (const watcher of watchers) schedule(watcher);
  };
  read.change = (change) => read.set(change(value));
  return read;
}

// Runs `work` now, and again whenever a cell that it read has changed; at most once for each turn of the page.
// Answers a function that ends it.
export function watch(work) {
  const watcher = { work, sources: new Set(), ended: false };
  run(watcher);
  return () => {
    watcher.ended = true;
    forget(watcher);
  };
}

// A cell that follows others.
export function derived(work) {
  const made = cell(undefined);
  watch(() => made.set(work()));
  return made;
}

function run(watcher) {
  forget(watcher);
  const before = watching;
  watching = watcher;
  try {
    watcher.work();
  } finally {
    watching = before;
  }
}

function forget(watcher) {
  for (const watchers of watcher.sources) watchers.delete(watcher);
  watcher.sources.clear();
}

function schedule(watcher) {
  if (waiting.size === 0) queueMicrotask(flush);
  waiting.add(watcher);
}

function flush() {
  // What is written meanwhile is seen in the same turn; a circle ends with an error and not with the page.
  for (let round = 0; waiting.size > 0; round += 1) {
    if (round > 100) {
      waiting.clear();
      throw new Error("cells that change each other");
    }
    const now = [...waiting];
    waiting.clear();
    for (const watcher of now) if (!watcher.ended) run(watcher);
  }
}

// Reads cells without watching them.
export function unseen(work) {
  const before = watching;
  watching = null;
  try {
    return work();
  } finally {
    watching = before;
  }
}

const SVG = "http://www.w3.org/2000/svg";

// h("button.plain", { onclick, title }, "text", other): an element. Text is text and never markup; there is no
// way here to make markup of a string.
export function h(name, properties, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  if (properties !== null && typeof properties === "object" && !(properties instanceof Node) && !Array.isArray(properties)) {
    apply(element, properties);
  } else {
    children.unshift(properties);
  }
  append(element, children);
  return element;
}

function apply(element, properties) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, one] of Object.entries(value)) element.style.setProperty(key, one);
    else if (name in element && !name.includes("-") && !READ_ONLY.has(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
}

const READ_ONLY = new Set(["list", "form", "role"]);

export function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false || child === "") continue;
    element.append(child);
  }
  return element;
}

export function replace(element, ...children) {
  element.replaceChildren();
  return append(element, children);
}

// Attributes that follow a state, set and taken away.
export function mark(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) element.removeAttribute(name);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  return element;
}

// Drawn by us, 24 by 24, with a line of the text's colour.
const ICONS = {
  archive: "M4 5h16v4H4zM6 9v10h12V9M10 13h4",
  attach: "M20 11.500 12 19.500a5 5 0 0 1-7-7l8-8a3.300 3.300 0 0 1 4.700 4.700l-8 8a1.700 1.700 0 0 1-2.400-2.400l7.400-7.300",
  back: "M15 5l-7 7 7 7",
  bold: "M7 5h6a3.500 3.500 0 0 1 0 7H7zM7 12h7a3.500 3.500 0 0 1 0 7H7z",
  bullets: "M9 6h11M9 12h11M9 18h11M4.500 6h.01M4.500 12h.01M4.500 18h.01",
  check: "M5 12.500 10 17.500 19 7",
  clear: "M6 5h12M12 5l-2 14M4 20 20 4",
  close: "M6 6l12 12M18 6 6 18",
  down: "M6 9l6 6 6-6",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14",
  draft: "M14 5l5 5L9 20H4v-5z",
  file: "M7 3h7l4 4v14H7zM14 3v4h4",
  flag: "M12 3.500 14.600 9l6 .7-4.400 4.100 1.200 5.900-5.400-3-5.400 3 1.200-5.900L3.400 9.700l6-.7z",
  folder: "M3 6h6l2 2h10v11H3z",
  forward: "M14 6l6 6-6 6M20 12H9a5 5 0 0 0-5 5v1",
  inbox: "M4 13 6.500 5h11L20 13v6H4zM4 13h5l1 2h4l1-2h5",
  italic: "M10 5h8M6 19h8M14 5l-4 14",
  junk: "M8 3h8l5 5v8l-5 5H8l-5-5V8zM12 8v5M12 16h.01",
  keyboard: "M3 7h18v10H3zM7 11h.01M11 11h.01M15 11h.01M8 14h8",
  link: "M10 14a4 4 0 0 0 6 0l3-3a4 4 0 0 0-6-6l-1 1M14 10a4 4 0 0 0-6 0l-3 3a4 4 0 0 0 6 6l1-1",
  mail: "M4 6h16v12H4zM4 7l8 6 8-6",
  menu: "M4 6h16M4 12h16M4 18h16",
  more: "M5 11.500a.5.5 0 1 0 .01 0M12 11.500a.5.5 0 1 0 .01 0M19 11.500a.5.5 0 1 0 .01 0",
  numbers: "M10 6h10M10 12h10M10 18h10M4 5l1.500-1v5M4 14.500c0-2 3-2 3-.5 0 1-3 2.500-3 3.500h3",
  open: "M4 10l8-6 8 6v9H4zM4 10l8 5 8-5",
  picture: "M4 5h16v14H4zM4 16l5-5 4 4 2-2 5 4M15 9h.01",
  plus: "M12 5v14M5 12h14",
  print: "M7 8V4h10v4M7 16H4V9h16v7h-3M7 13h10v7H7z",
  quote: "M9 7H5v6h4v-2c0 3-1.500 4-3 4.500M19 7h-4v6h4v-2c0 3-1.500 4-3 4.500",
  refresh: "M19 8A8 8 0 1 0 20 13M20 4v5h-5",
  reply: "M10 6l-6 6 6 6M4 12h11a5 5 0 0 1 5 5v1",
  replyall: "M8 7l-5 5 5 5M13 7l-5 5 5 5M8 12h8a5 5 0 0 1 5 5v1",
  search: "M10.500 4a6.500 6.500 0 1 1 0 13 6.500 6.500 0 0 1 0-13zM15.500 15.500 20 20",
  send: "M4 4l17 8-17 8 3-8zM7 12h14",
  settings: "M4 7h9M17 7h3M4 17h3M11 17h9M15 4.500v5M9 14.500v5",
  source: "M8 8l-4 4 4 4M16 8l4 4-4 4M13 6l-2 12",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13M10.500 11v5M13.500 11v5",
  underline: "M7 5v7a5 5 0 0 0 10 0V5M6 20h12",
  undo: "M8 6 4 10l4 4M4 10h10a5 5 0 0 1 0 10h-3",
  user: "M12 4a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM5 20c0-4 3-6 7-6s7 2 7 6",
};

export function icon(name) {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("viewBox", "0 0 24 24");
  drawing.setAttribute("class", "icon");
  drawing.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name] ?? ICONS.file);
  drawing.append(path);
  return drawing;
}

// A button that is a picture; `label` is its name for everybody who does not see it, and its hint.
export function iconButton(name, label, onclick, properties = {}) {
  const { classes = "", ...others } = properties;
  return h(`button.tool${classes}`, { type: "button", title: label, "aria-label": label, onclick, ...others }, icon(name));
}

// Calls `work` when nothing has called for it in so many milliseconds.
export function later(milliseconds, work) {
  let timer = 0;
  const ask = (...words) => {
    clearTimeout(timer);
    timer = setTimeout(() => { timer = 0; work(...words); }, milliseconds);
  };
  ask.now = (...words) => { clearTimeout(timer); timer = 0; return work(...words); };
  ask.cancel = () => { clearTimeout(timer); timer = 0; };
  ask.pending = () => timer !== 0;
  return ask;
}
