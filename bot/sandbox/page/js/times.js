// Slack timestamps ("1700000000.000100") as people read them.

export const dateOf = (ts) => new Date(Number.parseFloat(ts) * 1000);

const format = (options) => {
  const formatter = new Intl.DateTimeFormat("en", options);
  return (date) => formatter.format(date);
};

export const clock = format({ hour: "numeric", minute: "2-digit" });
const shortClock = format({ hour: "2-digit", minute: "2-digit", hour12: false });
const weekday = format({ weekday: "long", month: "long", day: "numeric" });
const full = format({ weekday: "long", month: "long", day: "numeric", year: "numeric", hour: "numeric", minute: "2-digit" });

/** compactClock is the time in the margin of a follow-up message. */
export const compactClock = (ts) => shortClock(dateOf(ts));

/** fullTime is the tooltip of a time. */
export const fullTime = (ts) => full(dateOf(ts));

export const dayKey = (ts) => dateOf(ts).toDateString();

const ordinal = (day) => {
  const tens = day % 100;
  if (tens >= 11 && tens <= 13) return `${day}th`;
  return `${day}${{ 1: "st", 2: "nd", 3: "rd" }[day % 10] ?? "th"}`;
};

/** dayLabel names a day the way a divider does: Today, Yesterday, Friday, November 20th. */
export function dayLabel(ts, now = new Date()) {
  const date = dateOf(ts);
  const near = nearDay(date, now);
  return near ?? weekday(date).replace(/\d+$/, (day) => ordinal(Number(day)));
}

function nearDay(date, now) {
  const yesterday = new Date(now);
  yesterday.setDate(now.getDate() - 1);
  if (date.toDateString() === now.toDateString()) return "Today";
  if (date.toDateString() === yesterday.toDateString()) return "Yesterday";
  return undefined;
}

/** ago says how long since, roughly. */
export function ago(ts, now = Date.now()) {
  const seconds = Math.max(0, (now - dateOf(ts).getTime()) / 1000);
  if (seconds < 60) return "just now";
  if (seconds < 3600) return plural(Math.floor(seconds / 60), "minute");
  if (seconds < 86400) return plural(Math.floor(seconds / 3600), "hour");
  return plural(Math.floor(seconds / 86400), "day");
}

const plural = (count, unit) => `${count} ${unit}${count === 1 ? "" : "s"} ago`;

const DATE_TOKENS = {
  date_num: (d) => [d.getFullYear(), d.getMonth() + 1, d.getDate()].map((n) => String(n).padStart(2, "0")).join("-"),
  date_slash: format({ year: "numeric", month: "2-digit", day: "2-digit" }),
  date: format({ month: "long", day: "numeric", year: "numeric" }),
  date_short: format({ month: "short", day: "numeric", year: "numeric" }),
  date_long: format({ weekday: "long", month: "long", day: "numeric", year: "numeric" }),
  time: clock,
  time_secs: format({ hour: "numeric", minute: "2-digit", second: "2-digit" }),
};

/** slackDate fills a <!date^…> format: {date_short}, {date_pretty}, {time}, {ago} and their kin. */
export function slackDate(seconds, template) {
  const date = new Date(seconds * 1000);
  return template.replace(/\{(\w+)\}/g, (whole, name) => {
    if (name === "ago") return ago(String(seconds));
    if (name.endsWith("_pretty")) return nearDay(date, new Date())?.toLowerCase() ?? DATE_TOKENS[name.slice(0, -7)]?.(date) ?? whole;
    return DATE_TOKENS[name]?.(date) ?? whole;
  });
}
