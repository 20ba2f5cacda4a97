// Emoji: shortcodes to characters, and drawings for the ones bots use as
// signals, so that a status reads the same on a computer without emoji fonts.

import { h, svg } from "./dom.js";

const TABLE = `
+1 👍|-1 👎|100 💯|airplane ✈️|alarm_clock ⏰|arrow_down ⬇️|arrow_left ⬅️|arrow_right ➡️|arrow_up ⬆️|arrows_counterclockwise 🔄|
ballot_box_with_check ☑️|bell 🔔|no_bell 🔕|bar_chart 📊|beers 🍻|black_circle ⚫|blue_heart 💙|boom 💥|bug 🐛|building_construction 🏗️|bulb 💡|
bust_in_silhouette 👤|busts_in_silhouette 👥|calendar 📅|certificate 📜|chart_with_upwards_trend 📈|checkered_flag 🏁|clap 👏|clipboard 📋|clock1 🕐|
cloud ☁️|coffee ☕|compass 🧭|computer 💻|confetti_ball 🎊|construction 🚧|cop 👮|cry 😢|dart 🎯|date 📅|dizzy 💫|door 🚪|e-mail 📧|email ✉️|envelope ✉️|
exclamation ❗|eyes 👀|file_folder 📁|fire 🔥|gear ⚙️|gift 🎁|globe_with_meridians 🌐|grey_question ❔|grin 😁|grinning 😀|hammer 🔨|hammer_and_wrench 🛠️|
hand ✋|heart ❤️|heavy_check_mark ✔️|heavy_plus_sign ➕|hourglass ⌛|hourglass_flowing_sand ⏳|house 🏠|inbox_tray 📥|information_source ℹ️|joy 😂|key 🔑|
label 🏷️|large_blue_circle 🔵|large_green_circle 🟢|large_orange_circle 🟠|large_yellow_circle 🟡|large_purple_circle 🟣|large_green_square 🟩|large_red_square 🟥|
large_yellow_square 🟨|large_blue_square 🟦|leftwards_arrow_with_hook ↩️|link 🔗|lock 🔒|lock_with_ink_pen 🔏|closed_lock_with_key 🔐|loudspeaker 📢|mag 🔍|mailbox 📫|
mega 📣|memo 📝|pencil 📝|mute 🔇|new 🆕|no_entry ⛔|no_entry_sign 🚫|office 🏢|ok 🆗|ok_hand 👌|octagonal_sign 🛑|outbox_tray 📤|package 📦|page_facing_up 📄|paperclip 📎|
partying_face 🥳|pencil2 ✏️|pray 🙏|pushpin 📌|question ❓|raised_hands 🙌|recycle ♻️|red_circle 🔴|repeat 🔁|robot_face 🤖|rocket 🚀|rotating_light 🚨|
satellite 📡|scales ⚖️|scroll 📜|seedling 🌱|shield 🛡️|shrug 🤷|simple_smile 🙂|slightly_smiling_face 🙂|smile 😄|smiley 😃|smirk 😏|sob 😭|sparkles ✨|speech_balloon 💬|
star ⭐|stop_sign 🛑|stopwatch ⏱️|sunglasses 😎|sunny ☀️|tada 🎉|telephone_receiver 📞|thinking_face 🤔|thought_balloon 💭|thumbsdown 👎|thumbsup 👍|ticket 🎫|tools 🛠️|
traffic_light 🚦|triangular_flag_on_post 🚩|trophy 🏆|unlock 🔓|warning ⚠️|wave 👋|white_check_mark ✅|white_circle ⚪|white_large_square ⬜|wink 😉|world_map 🗺️|wrench 🔧|x ❌|zap ⚡|zzz 💤|
one 1️⃣|two 2️⃣|three 3️⃣|four 4️⃣|five 5️⃣`;

const CHARACTERS = new Map(TABLE.replaceAll("\n", "").split("|").map((pair) => pair.split(" ")));

/** shortcodes lists every known name, for completion. */
export const shortcodes = [...CHARACTERS.keys()];

/** knows says whether a name (without colons) is an emoji here. */
export const knows = (name) => CHARACTERS.has(name);

/** character returns the Unicode emoji of a name, or undefined. */
export const character = (name) => CHARACTERS.get(name);

/** emoji draws one by its name; an unknown name is shown as it was written. */
export function emoji(name) {
  const plain = name.replace(/::skin-tone-\d$/, "");
  const text = CHARACTERS.get(plain);
  if (!text) return document.createTextNode(`:${name}:`);
  return picture(text, `:${name}:`);
}

/** picture draws an emoji character: our own drawing where there is one, the font's otherwise. */
export function picture(text, label = nameOf(text)) {
  const shapes = drawing(text);
  const inner = shapes ? svg(shapes, { size: 20, className: "emoji-art" }) : text;
  return h("span", { class: "emoji", role: "img", "aria-label": label, title: label }, inner);
}

/** EMOJI_RUN finds emoji characters in running text. */
export const EMOJI_RUN = /\p{Extended_Pictographic}(?:\uFE0F|[\u{1F3FB}-\u{1F3FF}])?(?:\u200D\p{Extended_Pictographic}\uFE0F?)*/gu;

const bare = (text) => text.replaceAll("\uFE0F", "");

function nameOf(text) {
  for (const [name, known] of CHARACTERS) if (bare(known) === bare(text)) return `:${name}:`;
  return text;
}

const drawing = (text) => DRAWINGS.get(bare(text));

const RED = "#e0364f";
const GREEN = "#2ba56a";
const AMBER = "#f2b632";
const BLUE = "#3d7fd9";
const GREY = "#8b93a1";
const INK = "#2c2f36";

const disc = (fill) => [["circle", { cx: 10, cy: 10, r: 8.2, fill }], ["path", { d: "M5 8a5.6 5.6 0 0 1 4-3.4", fill: "none", stroke: "#fff", "stroke-opacity": ".45", "stroke-width": 1.4, "stroke-linecap": "round" }]];
const square = (fill, stroke) => ["rect", { x: 1.8, y: 1.8, width: 16.4, height: 16.4, rx: 3.6, fill, stroke: stroke ?? "none" }];
const line = (d, stroke, width = 2.2) => ["path", { d, fill: "none", stroke, "stroke-width": width, "stroke-linecap": "round", "stroke-linejoin": "round" }];
const fill = (d, color) => ["path", { d, fill: color }];
const CHECK = "M5.6 10.4l3 3 5.8-6.6";
const arrow = (d) => [square(BLUE), line(d, "#fff", 2)];
const paper = ["path", { d: "M4.5 1.8h8l3.5 3.5v12.9h-11.5z", fill: "#f3efe2", stroke: "#b9b19a", "stroke-width": 1 }];
const padlock = (shackle) => [line(shackle, GREY, 2), ["rect", { x: 3.6, y: 8.6, width: 12.8, height: 9.4, rx: 2, fill: AMBER }], ["circle", { cx: 10, cy: 12.6, r: 1.5, fill: INK }], line("M10 13v2.2", INK, 1.4)];
const keyShape = [["circle", { cx: 6.4, cy: 6.8, r: 3.6, fill: "none", stroke: AMBER, "stroke-width": 2.4 }], line("M9 9.4l7.4 7.4M13.4 13.8l2-2M15.4 15.8l1.8-1.8", AMBER, 2.2)];
const people = (x) => [["circle", { cx: x, cy: 6.4, r: 3.4, fill: "#5b6b8c" }], fill(`M${x - 6} 18c0-4.4 2.6-6.6 6-6.6s6 2.2 6 6.6z`, "#5b6b8c")];
const glass = [fill("M4.6 2h10.8v1.8H4.6zM4.6 16.2h10.8V18H4.6z", "#a9754a"), line("M6.2 4c0 3.2 3.4 4.2 3.4 6s-3.4 2.8-3.4 6h7.6c0-3.2-3.4-4.2-3.4-6s3.4-2.8 3.4-6z", GREY, 1), fill("M7.4 6h5.2c-.8 1.4-2.6 2.2-2.6 3.4 0-1.2-1.8-2-2.6-3.4zM7 16c.4-1.8 2-2.6 3-2.6s2.6.8 3 2.6z", AMBER)];

const DRAWINGS = new Map(
  Object.entries({
    "✅": [square(GREEN), line(CHECK, "#fff", 2.4)],
    "✔": [line("M3.6 10.8l4.2 4.4 8.6-10.4", GREEN, 2.8)],
    "☑": [square(BLUE), line(CHECK, "#fff", 2.4)],
    "❌": [line("M4.4 4.4l11.2 11.2M15.6 4.4L4.4 15.6", RED, 3.2)],
    "⚠": [fill("M8.6 2.6a1.7 1.7 0 0 1 2.8 0l7.2 12.7a1.6 1.6 0 0 1-1.4 2.5H2.8a1.6 1.6 0 0 1-1.4-2.5z", AMBER), line("M10 7.2v4.6", INK, 2), ["circle", { cx: 10, cy: 14.8, r: 1.25, fill: INK }]],
    "🔴": disc(RED),
    "🟠": disc("#ee8434"),
    "🟡": disc(AMBER),
    "🟢": disc(GREEN),
    "🔵": disc(BLUE),
    "🟣": disc("#8e5bd0"),
    "⚫": disc(INK),
    "⚪": [["circle", { cx: 10, cy: 10, r: 7.7, fill: "#f4f5f7", stroke: "#b9bec7" }]],
    "🟥": [square(RED)],
    "🟨": [square(AMBER)],
    "🟩": [square(GREEN)],
    "🟦": [square(BLUE)],
    "⬜": [square("#f4f5f7", "#b9bec7")],
    "⛔": [["circle", { cx: 10, cy: 10, r: 8.2, fill: RED }], ["rect", { x: 4.6, y: 8.4, width: 10.8, height: 3.2, rx: 1, fill: "#fff" }]],
    "🚫": [["circle", { cx: 10, cy: 10, r: 7.2, fill: "none", stroke: RED, "stroke-width": 2.2 }], line("M5 5l10 10", RED, 2.2)],
    "🛑": [fill("M6.6 1.8h6.8l4.8 4.8v6.8l-4.8 4.8H6.6l-4.8-4.8V6.6z", RED), ["rect", { x: 5, y: 8.6, width: 10, height: 2.8, rx: 0.8, fill: "#fff" }]],
    "ℹ": [square(BLUE), ["circle", { cx: 10, cy: 5.8, r: 1.3, fill: "#fff" }], line("M10 9v5.4", "#fff", 2.2)],
    "❓": [line("M6.4 6.6c.2-2.4 1.8-3.6 3.8-3.6s3.8 1.2 3.8 3.4c0 3-3.8 3-3.8 5.8", RED, 2.6), ["circle", { cx: 10.2, cy: 16.2, r: 1.6, fill: RED }]],
    "❔": [line("M6.4 6.6c.2-2.4 1.8-3.6 3.8-3.6s3.8 1.2 3.8 3.4c0 3-3.8 3-3.8 5.8", GREY, 2.6), ["circle", { cx: 10.2, cy: 16.2, r: 1.6, fill: GREY }]],
    "❗": [line("M10 2.8v8.6", RED, 3), ["circle", { cx: 10, cy: 16.2, r: 1.7, fill: RED }]],
    "⏳": glass,
    "⌛": glass,
    "⏰": [["circle", { cx: 10, cy: 11, r: 6.6, fill: "#fff", stroke: RED, "stroke-width": 2 }], line("M10 7.6V11l2.4 1.6", INK, 1.5), line("M3 5.2l2.6-2.4M17 5.2l-2.6-2.4", RED, 2)],
    "🔒": padlock("M6.4 8.6V6.4a3.6 3.6 0 0 1 7.2 0v2.2"),
    "🔐": padlock("M6.4 8.6V6.4a3.6 3.6 0 0 1 7.2 0v2.2"),
    "🔏": padlock("M6.4 8.6V6.4a3.6 3.6 0 0 1 7.2 0v2.2"),
    "🔓": padlock("M6.4 8.6V5.6a3.6 3.6 0 0 1 7-1.2"),
    "🔑": keyShape,
    "🔔": [fill("M10 2.2c3.4 0 5.2 2.4 5.2 5.6 0 4 1.8 5 1.8 6.4H3c0-1.4 1.8-2.4 1.8-6.4 0-3.2 1.8-5.6 5.2-5.6z", AMBER), fill("M8 15.4h4a2 2 0 0 1-4 0z", "#b98316")],
    "🚨": [fill("M4.8 15V10a5.2 5.2 0 0 1 10.4 0v5z", RED), ["rect", { x: 3, y: 15, width: 14, height: 3, rx: 1, fill: INK }], line("M10 1.4v1.8M3.4 4l1.4 1.2M16.6 4l-1.4 1.2", RED, 1.6)],
    "💡": [["circle", { cx: 10, cy: 7.8, r: 5.8, fill: AMBER }], ["rect", { x: 7.6, y: 13, width: 4.8, height: 5, rx: 1.4, fill: GREY }]],
    "➡": arrow("M5 10h9.6M11 6.2l3.8 3.8-3.8 3.8"),
    "⬅": arrow("M15 10H5.4M9 6.2L5.2 10 9 13.8"),
    "⬆": arrow("M10 15V5.4M6.2 9L10 5.2 13.8 9"),
    "⬇": arrow("M10 5v9.6M6.2 11l3.8 3.8 3.8-3.8"),
    "↩": arrow("M14.6 13.6V10.4a2.4 2.4 0 0 0-2.4-2.4H5.4M8.4 5L5.2 8l3.2 3"),
    "🔁": arrow("M5 9.4V8a2 2 0 0 1 2-2h7.4M12.4 4l2.2 2-2.2 2M15 10.6V12a2 2 0 0 1-2 2H5.6M7.6 16l-2.2-2 2.2-2"),
    "🔄": arrow("M14.6 8A5 5 0 0 0 5.6 7.4M5.2 4.8v2.8h2.8M5.4 12a5 5 0 0 0 9 .6M14.8 15.2v-2.8H12"),
    "🔗": [line("M8.4 11.6a3 3 0 0 0 4.4.2l2.8-2.8a3.1 3.1 0 0 0-4.4-4.4l-1 1M11.6 8.4a3 3 0 0 0-4.4-.2L4.4 11a3.1 3.1 0 0 0 4.4 4.4l1-1", GREY, 2.1)],
    "📅": [["rect", { x: 2.4, y: 3, width: 15.2, height: 15, rx: 2.2, fill: "#f4f5f7", stroke: "#b9bec7" }], fill("M2.4 5.2A2.2 2.2 0 0 1 4.6 3h10.8a2.2 2.2 0 0 1 2.2 2.2v2.4H2.4z", RED), line("M6 11h.1M10 11h.1M14 11h.1M6 14.6h.1M10 14.6h.1", INK, 2)],
    "📋": [["rect", { x: 3.4, y: 3, width: 13.2, height: 15.2, rx: 1.8, fill: "#a9754a" }], ["rect", { x: 5.2, y: 5, width: 9.6, height: 11.4, fill: "#fff" }], ["rect", { x: 7, y: 1.6, width: 6, height: 3.4, rx: 1, fill: GREY }], line("M7 8.6h6M7 11h6M7 13.4h4", GREY, 1.2)],
    "📝": [paper, line("M7 8h6M7 10.6h6M7 13.2h3.4", GREY, 1.2), line("M11.4 15.4l5.4-5.6", AMBER, 2.6)],
    "📜": [paper, line("M7 6h4M7 8.6h6.4M7 11.2h6.4", GREY, 1.2), ["circle", { cx: 12.6, cy: 15, r: 2.2, fill: RED }]],
    "📄": [paper, line("M7 8h6M7 10.6h6M7 13.2h6", GREY, 1.2)],
    "📌": [fill("M11.4 1.8l6.8 6.8-2.2.6-3.2 3.2-.6 4-3.6-3.6L3 17l4.2-5.6-3.6-3.6 4-.6 3.2-3.2z", RED)],
    "🚩": [line("M4 2.4v16", "#a9754a", 1.8), fill("M5 3l11.6 4L5 11z", RED)],
    "🔍": [["circle", { cx: 8.2, cy: 8.2, r: 5.4, fill: "#cfe3fb", stroke: INK, "stroke-width": 1.8 }], line("M12.4 12.4l5 5", INK, 2.6)],
    "🛡": [fill("M10 1.6l7 2.4v5.4c0 4.4-2.8 7.4-7 9-4.2-1.6-7-4.6-7-9V4z", BLUE), line("M6.6 10l2.6 2.6 4.4-5", "#fff", 2)],
    "🏢": [["rect", { x: 4, y: 1.8, width: 12, height: 16.4, rx: 1, fill: "#7f8ea8" }], line("M7 5.4h1.4M11.6 5.4H13M7 8.8h1.4M11.6 8.8H13M7 12.2h1.4M11.6 12.2H13", "#fff", 1.8)],
    "🏠": [fill("M10 2l8.4 7.4H16V18H4V9.4H1.6z", "#c9764a"), ["rect", { x: 8, y: 11.6, width: 4, height: 6.4, fill: "#f3efe2" }]],
    "☁": [fill("M5.4 16a3.9 3.9 0 0 1-.4-7.8 5.2 5.2 0 0 1 10-.2A4 4 0 0 1 14.8 16z", "#9db8d9")],
    "📦": [fill("M2.4 6L10 2.4 17.6 6v8.6L10 18l-7.6-3.4z", "#c79a63"), line("M2.6 6.2L10 9.6l7.4-3.4M10 9.6V18", "#8f6a3c", 1.2)],
    "💬": [fill("M3 3h14a1.6 1.6 0 0 1 1.6 1.6v7.6a1.6 1.6 0 0 1-1.6 1.6H9l-4.4 4v-4H3a1.6 1.6 0 0 1-1.6-1.6V4.6A1.6 1.6 0 0 1 3 3z", "#7fa8e0"), line("M6.2 8.4h.1M10 8.4h.1M13.8 8.4h.1", "#fff", 2.2)],
    "👤": people(10),
    "👥": [...people(6.6), ...people(13.4)],
    "⭐": [fill("M10 1.8l2.5 5.3 5.7.7-4.2 4 1.1 5.8L10 14.8l-5.1 2.8L6 11.8l-4.2-4 5.7-.7z", AMBER)],
    "⚡": [fill("M11.6 1.4L4 11.4h5l-1 7.2 8-10.4h-5.2z", AMBER)],
    "🔥": [fill("M10.6 1.4c.8 3.4 5.2 5 5.2 10a5.8 5.8 0 0 1-11.6 0c0-2.4 1.2-3.6 2-5.2.8 1.2 1.2 1.8 2 2.2.4-2.6.6-5 2.4-7z", "#ee6c34"), fill("M10.2 9.4c.4 1.6 2.4 2.4 2.4 4.8a2.6 2.6 0 0 1-5.2 0c0-2 2-2.8 2.8-4.8z", AMBER)],
    "🏁": [line("M4 2.4v16", GREY, 1.8), ["rect", { x: 5, y: 3, width: 12, height: 8.4, fill: "#fff", stroke: INK, "stroke-width": 0.8 }], fill("M5 3h3v2.8H5zM11 3h3v2.8h-3zM8 5.8h3v2.8H8zM14 5.8h3v2.8h-3zM5 8.6h3v2.8H5zM11 8.6h3v2.8h-3z", INK)],
    "✉": [["rect", { x: 1.8, y: 4, width: 16.4, height: 12, rx: 1.6, fill: "#f4f5f7", stroke: "#9aa3b2" }], line("M2.6 5l7.4 6 7.4-6", "#9aa3b2", 1.3)],
    "⚙": [["circle", { cx: 10, cy: 10, r: 5, fill: "none", stroke: GREY, "stroke-width": 3 }], line("M10 1.8v2.4M10 15.8v2.4M1.8 10h2.4M15.8 10h2.4M4.2 4.2l1.7 1.7M14.1 14.1l1.7 1.7M15.8 4.2l-1.7 1.7M5.9 14.1l-1.7 1.7", GREY, 2)],
    "🔧": [line("M4 16.4l7-7", GREY, 3.2), line("M16.6 4.6a4.2 4.2 0 1 1-4.4-1.8l-.6 2.8 2 1.6z", GREY, 1.8)],
    "👋": [fill("M6.2 17c-2.2-2-3.8-5-4.4-7.4-.3-1.2 1.2-1.7 1.7-.6l1 2.2-1.1-5.6c-.2-1.3 1.5-1.6 1.9-.4l1.2 4-.2-5.6c0-1.3 1.8-1.3 1.9 0l.6 5.4 1.2-4.6c.3-1.2 2-.9 1.8.4l-.5 5.6 1.6-1.6c1-1 2.6.2 1.9 1.4l-2.4 4.8c-1.2 2.4-4 3.6-6.2 2z", "#f2c14e"), line("M15 2.6c1 .6 1.8 1.4 2.2 2.4", GREY, 1.2)],
    "🎉": [fill("M2 18l4-10.6 6.6 6.6z", AMBER), line("M9 6.4c1-1 1-2.4.4-3.8M13.6 11c1.4-.8 2.8-.6 4 .2M12 8l3-3", RED, 1.5), ["circle", { cx: 16.6, cy: 3.4, r: 1.2, fill: BLUE }], ["circle", { cx: 17, cy: 8, r: 1, fill: GREEN }], ["circle", { cx: 12.6, cy: 2.6, r: 1, fill: GREEN }]],
    "🚀": [fill("M17.6 2.4c-5 0-8.8 3-10.4 7l3.4 3.4c4-1.6 7-5.4 7-10.4z", "#d5dbe6"), ["circle", { cx: 12.8, cy: 7.2, r: 1.7, fill: BLUE }], fill("M7 9.6l-4 .8 2.4-3.6h3zM10.4 13l-.8 4 3.6-2.4v-3z", RED), fill("M5.8 12.4c-1.8.2-3 2-3.4 5.2 3.2-.4 5-1.6 5.2-3.4z", AMBER)],
    "👍": [fill("M2 9h3.4v9H2z", BLUE), fill("M6.4 9.4l3.4-7.2c1.8 0 2.6 1.2 2.4 3L11.8 8h4.6c1.2 0 2 1 1.7 2.2l-1.5 6.2c-.2 1-1 1.6-2 1.6H6.4z", "#f2c14e")],
    "👀": [["ellipse", { cx: 5.8, cy: 10, rx: 3.9, ry: 6, fill: "#fff", stroke: "#9aa3b2" }], ["ellipse", { cx: 14.2, cy: 10, rx: 3.9, ry: 6, fill: "#fff", stroke: "#9aa3b2" }], ["circle", { cx: 4.6, cy: 11, r: 1.9, fill: INK }], ["circle", { cx: 13, cy: 11, r: 1.9, fill: INK }]],
    "🤖": [["rect", { x: 3, y: 5.6, width: 14, height: 11.6, rx: 2.4, fill: "#9db0c9" }], ["circle", { cx: 7.2, cy: 10, r: 1.7, fill: INK }], ["circle", { cx: 12.8, cy: 10, r: 1.7, fill: INK }], line("M7 14h6M10 5.4V2.4", INK, 1.4)],
    "🙂": [["circle", { cx: 10, cy: 10, r: 8.2, fill: "#f7cd52" }], line("M6.4 12c1.8 2.6 5.4 2.6 7.2 0M7 7.4h.1M13 7.4h.1", INK, 1.8)],
    "😄": [["circle", { cx: 10, cy: 10, r: 8.2, fill: "#f7cd52" }], fill("M5.6 10.6h8.8c-.2 3-2 4.8-4.4 4.8s-4.2-1.8-4.4-4.8z", INK), line("M6 7.8c.6-1 1.6-1 2.2 0M11.8 7.8c.6-1 1.6-1 2.2 0", INK, 1.4)],
  }),
);
