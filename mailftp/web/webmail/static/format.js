// Times, sizes and names, as people read them.

const DAY = 86400000;
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "short" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });

// In a list: today's by its hour, this week's by its day.
export function shortDate(text, now = new Date()) {
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return "";
  const today = new Date(now.getFullYear(), now.getMonth(), now.getDate());
  if (at >= today && at - today < DAY) return clock.format(at);
  if (at < today && today - at < 6 * DAY) return weekday.format(at);
  return at.getFullYear() === now.getFullYear() ? day.format(at) : date.format(at);
}

export function longDate(text) {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? "" : whole.format(at);
}

export function size(octets) {
  if (octets < 1000) return `${octets} bytes`;
  const units = ["kB", "MB", "GB", "TB"];
  let unit = -1;
  do { octets /= 1000; unit += 1; } while (octets >= 999.5 && unit < units.length - 1);
  return `${octets < 9.95 ? octets.toFixed(1) : Math.round(octets)} ${units[unit]}`;
}

export const count = (number, one, many = `${one}s`) => `${number.toLocaleString()} ${number === 1 ? one : many}`;

// What a browser calls itself, in two words.
export function browserName(agent) {
  const found = [["Firefox", /Firefox\//], ["Edge", /Edg\//], ["Chrome", /Chrom(e|ium)\//], ["Safari", /Safari\//]]
    .find(([, pattern]) => pattern.test(agent));
  const system = [["Android", /Android/], ["iPhone", /iPhone/], ["iPad", /iPad/], ["Windows", /Windows/],
    ["Mac", /Mac OS X/], ["Linux", /Linux/]].find(([, pattern]) => pattern.test(agent));
  return [found?.[0] ?? "A browser", system && `on ${system[0]}`].filter(Boolean).join(" ");
}
