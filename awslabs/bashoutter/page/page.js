// Bashoutter's page. It talks to the API that openapi.yaml describes.
//
// What other people wrote is only ever put into the page as text (textContent); the Content-Security-Policy
// in index.html makes the browser refuse anything else.

const LONGEST = { first: 50, second: 50, third: 50, username: 30 }; // code points, as the API counts
const PAGE = 30; // haiku per request
const LOOK_AGAIN_MS = 30_000; // while the page is looked at
const PATIENCE_MS = 30_000; // API Gateway gives up after 29 s
const JUST_POSTED_MS = 10_000; // so long an index may take to show what was posted

const TEXTS = {
  ja: {
    tagline: "十七音、ここに置いてゆく。",
    write: "一句詠む",
    first: "上五",
    second: "中七",
    third: "下五",
    username: "俳号",
    send: "詠む",
    newest: "新しい句",
    refresh: "更新",
    more: "もっと読む",
    settings: "APIの番地",
    api: "この頁が句を読み書きするところ",
    save: "使う",
    reset: "元に戻す",
    promise: "この頁は何も追いかけません。言語と俳号と番地だけを、あなたの端末に覚えます。",
    examples: { first: "古池や", second: "蛙飛びこむ", third: "水の音", username: "芭蕉" },
    loading: "句を読んでいます…",
    empty: "まだ一句もありません。\n最初の一句を、どうぞ。",
    posted: "詠みました。",
    deleted: "消しました。",
    like: "「{first}」に花を添える（今 {likes}）",
    remove: "消す",
    removeIt: "「{first}」を消す",
    sure: "本当に消す",
    again: "もう一度",
    missing: "書いてください",
    tooLong: "{longest}字まで（今 {count}字）",
    notText: "文字を入れてください",
    noAddress: "まだAPIの番地がありません。下の「APIの番地」に書いてください。",
    badAddress: "https:// で始まる番地を書いてください",
    unreachable: "APIが答えません。少し待ってもう一度試すか、下の「APIの番地」を確かめてください。",
    busy: "いま混み合っています。少し待って、もう一度どうぞ。",
    gone: "その句はもうありません。",
    refused: "受け取ってもらえませんでした。",
    broken: "APIの側で何かがうまくいきませんでした。少し待って、もう一度どうぞ。",
    strange: "この番地にあるのはBashoutterのAPIではないようです。下の「APIの番地」を確かめてください。",
  },
  en: {
    tagline: "Leave seventeen sounds here.",
    write: "Write a haiku",
    first: "first 5",
    second: "then 7",
    third: "last 5",
    username: "Name",
    send: "Post",
    newest: "Newest",
    refresh: "Refresh",
    more: "Read more",
    settings: "Address of the API",
    api: "Where this page reads and writes its haiku",
    save: "Use it",
    reset: "Back to the first",
    promise: "This page follows nobody. Your device remembers language, name and address; nothing else does.",
    examples: { first: "the old pond", second: "a frog jumps into it", third: "sound of water", username: "Bashō" },
    loading: "Reading…",
    empty: "No haiku yet.\nYours could be the first.",
    posted: "Posted.",
    deleted: "Deleted.",
    like: "Like “{first}” ({likes} so far)",
    remove: "Delete",
    removeIt: "Delete “{first}”",
    sure: "Really delete",
    again: "Try again",
    missing: "Please write something",
    tooLong: "{longest} characters at most; now {count}",
    notText: "Please write something that can be seen",
    noAddress: "There is no API yet. Write its address under “Address of the API” below.",
    badAddress: "An address begins with https://",
    unreachable: "The API does not answer. Wait a little and try again, or look at “Address of the API” below.",
    busy: "Many people are here just now. Wait a little and try again.",
    gone: "That haiku is not there any more.",
    refused: "The API did not take this.",
    broken: "Something went wrong behind the API. Wait a little and try again.",
    strange: "This does not look like Bashoutter's API. Look at “Address of the API” below.",
  },
};

const $ = (id) => document.getElementById(id);
const length = (text) => [...text].length; // code points; .length would count a 𠮷 twice
const visible = /[^\p{C}\p{Z}]/u;
const fields = Object.keys(LONGEST);
const builtIn = address(document.querySelector("meta[name=bashoutter-api]").content);

let language = remembered("language") ?? (navigator.language.startsWith("ja") ? "ja" : "en");
let api = remembered(`api instead of ${builtIn}`) ?? builtIn;
let next = null; // query of the next older page
let asked = 0; // how often the list was asked for: an old answer must not overwrite a newer one
let trouble = null; // what is shown in the box, to show it in the other language too
let quiet = "loading"; // likewise, in place of the list
const cards = new Map(); // item_id -> {haiku, card, ...}, in the order of the list
const posted = new Map(); // item_id -> when, of this visit

// -- words ------------------------------------------------------------------------------------------------

function say(key, values = {}) {
  return TEXTS[language][key].replace(/{(\w+)}/g, (_, name) => values[name]);
}

function speak(chosen) {
  language = chosen;
  document.documentElement.lang = chosen;
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = say(element.dataset.t);
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", button.dataset.language === chosen);
  }
  for (const name of fields) $(name).placeholder = TEXTS[chosen].examples[name];
  $("said").textContent = "";
  for (const name of fields) note(name, "");
  for (const one of cards.values()) paint(one);
  showTrouble();
  showQuiet();
}

// -- what this device remembers ---------------------------------------------------------------------------

function remembered(key) {
  try {
    return localStorage.getItem(`bashoutter ${key}`);
  } catch {
    return null; // storage is switched off: the page works without
  }
}

function remember(key, value) {
  try {
    if (value === null) localStorage.removeItem(`bashoutter ${key}`);
    else localStorage.setItem(`bashoutter ${key}`, value);
  } catch {
    return; // likewise
  }
}

// -- the API ----------------------------------------------------------------------------------------------

class Trouble extends Error {
  constructor(key, details = "") {
    super(key);
    Object.assign(this, { key, details });
  }
}

function address(text) {
  try {
    const url = new URL(text);
    return /^https?:$/.test(url.protocol) ? url.href.replace(/\/+$/, "") : "";
  } catch {
    return ""; // also the placeholder of a page that `up` did not fill in
  }
}

async function ask(method, path, body) {
  if (!api) throw new Trouble("noAddress");
  const how = { method, cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(PATIENCE_MS) };
  if (body) Object.assign(how, { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });
  let answer, data;
  try {
    answer = await fetch(api + path, how);
    data = answer.status === 204 ? null : await answer.text();
  } catch (problem) {
    throw new Trouble("unreachable", `${method} ${api}${path}: ${problem.message}`);
  }
  try {
    data = data && JSON.parse(data);
  } catch {
    throw new Trouble("strange", `${method} ${api}${path}: ${answer.status}`);
  }
  if (answer.ok) return { data, link: answer.headers.get("Link") ?? "" };
  const key = { 400: "refused", 404: "gone", 429: "busy" }[answer.status];
  throw new Trouble(key ?? (answer.status < 500 ? "strange" : "broken"), `${answer.status} ${data?.message ?? ""}`);
}

async function page(query) {
  const { data, link } = await ask("GET", `/haiku${query}`);
  if (!Array.isArray(data)) throw new Trouble("strange", `GET ${api}/haiku`);
  return { list: data, next: /<([^>]+)>; *rel="?next/.exec(link)?.[1] ?? null };
}

// -- the list ---------------------------------------------------------------------------------------------

const newer = (one, other) =>
  one.created_at > other.created_at || (one.created_at === other.created_at && one.item_id > other.item_id);

function put(haiku, fresh = false) {
  const known = cards.get(haiku.item_id);
  if (known) {
    known.haiku = haiku;
    paint(known);
    return known;
  }
  const one = { haiku, ...card() };
  cards.set(haiku.item_id, one);
  paint(one);
  one.card.classList.toggle("fresh", fresh);
  const below = [...cards.values()].filter((other) => newer(haiku, other.haiku));
  const highest = below.reduce((best, other) => (best && newer(best.haiku, other.haiku) ? best : other), null);
  $("haiku").insertBefore(one.card, highest && highest.card);
  if (cards.size === 1) performance.mark("first-haiku");
  return one;
}

function take(id) {
  cards.get(id)?.card.remove();
  cards.delete(id);
}

async function refresh() {
  const turn = ++asked;
  $("shelf-title").parentElement.setAttribute("aria-busy", "true");
  try {
    const found = await page(`?limit=${PAGE}`);
    if (turn !== asked) return;
    merge(found);
    settle(null);
    showQuiet(cards.size ? "" : "empty");
  } catch (problem) {
    if (turn !== asked) return;
    if (!(problem instanceof Trouble)) throw problem;
    settle({ problem, again: refresh });
    showQuiet("");
  } finally {
    $("shelf-title").parentElement.removeAttribute("aria-busy");
  }
}

function merge(found) {
  const ids = new Set(found.list.map((haiku) => haiku.item_id));
  const connected = [...ids].some((id) => cards.has(id) && !posted.has(id));
  if (found.next && !connected) {
    for (const id of [...cards.keys()]) if (!ids.has(id)) take(id); // so many new ones that there is a gap
  }
  if (!connected || !found.next) next = found.next;
  const last = found.list.at(-1);
  for (const [id, { haiku }] of [...cards]) {
    const inside = !found.next || newer(haiku, last);
    const mayBeLate = Date.now() - (posted.get(id) ?? 0) < JUST_POSTED_MS;
    if (inside && !ids.has(id) && !mayBeLate) take(id); // somebody deleted it
  }
  const first = cards.size === 0;
  for (const haiku of found.list) put(haiku, !first);
  $("more").hidden = !next;
}

async function more() {
  const before = new Set(cards.keys());
  const from = next;
  try {
    const found = await page(from);
    if (next !== from) return; // the list has begun anew, and goes on elsewhere
    for (const haiku of found.list) put(haiku);
    next = found.next;
    settle(null);
    $("more").hidden = !next;
    const one = found.list.find((haiku) => !before.has(haiku.item_id));
    if (one) cards.get(one.item_id).card.focus(); // a keyboard goes on reading where the new ones begin
  } catch (problem) {
    if (!(problem instanceof Trouble)) throw problem;
    settle({ problem, again: more });
  }
}

// -- a card -----------------------------------------------------------------------------------------------

const japanese = /[\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Han}]/u;
const SVG = "http://www.w3.org/2000/svg";

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function blossom() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  for (let petal = 0; petal < 5; petal++) {
    const angle = (petal * 2 * Math.PI) / 5 - Math.PI / 2;
    const circle = document.createElementNS(SVG, "circle");
    circle.setAttribute("cx", 12 + 5.6 * Math.cos(angle));
    circle.setAttribute("cy", 12 + 5.6 * Math.sin(angle));
    circle.setAttribute("r", 3.9);
    svg.append(circle);
  }
  return svg;
}

function card() {
  const lines = [make("p"), make("p"), make("p")];
  const by = make("p", { className: "by" });
  const poem = make("div", { className: "poem" }, ...lines, by);
  const time = make("time");
  const count = make("span");
  const like = make("button", { type: "button", className: "like" }, blossom(), count);
  const remove = make("button", { type: "button", className: "remove" });
  const foot = make("div", { className: "foot" }, time, remove, like);
  const one = { card: make("li", { tabIndex: -1 }, poem, foot), lines, by, time, count, like, remove };
  like.addEventListener("click", () => addLike(cards.get(one.card.dataset.id)));
  remove.addEventListener("click", () => drop(cards.get(one.card.dataset.id)));
  remove.addEventListener("blur", () => askFirst(cards.get(one.card.dataset.id), false));
  return one;
}

function paint(one) {
  const { haiku } = one;
  const texts = [haiku.first, haiku.second, haiku.third];
  const isJapanese = japanese.test(texts.join(""));
  const tall = isJapanese && [...texts, haiku.username].every((text) => length(text) <= 12);
  one.card.dataset.id = haiku.item_id;
  one.card.classList.toggle("tall", tall);
  one.card.classList.toggle("flat", !tall);
  one.lines.forEach((line, number) => {
    line.textContent = texts[number];
    line.lang = isJapanese ? "ja" : "";
    line.dir = "auto";
  });
  one.by.textContent = haiku.username;
  one.by.dir = "auto";
  const when = new Date(haiku.created_at);
  one.time.dateTime = haiku.created_at;
  one.time.textContent = new Intl.DateTimeFormat(language, {
    month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23",
  }).format(when);
  one.count.textContent = haiku.likes;
  one.like.setAttribute("aria-label", say("like", haiku));
  one.card.classList.toggle("own", posted.has(haiku.item_id));
  one.remove.hidden = !posted.has(haiku.item_id);
  askFirst(one, one.remove.classList.contains("sure")); // a list that arrives takes no answer out of one's mouth
}

async function addLike(one) {
  one.like.classList.add("mine");
  one.haiku = { ...one.haiku, likes: one.haiku.likes + 1 }; // at once; the answer corrects it
  paint(one);
  try {
    const { data } = await ask("PATCH", `/haiku/${encodeURIComponent(one.haiku.item_id)}`);
    if (data.likes > one.haiku.likes) one.haiku = data; // answers to quick presses may come in any order
    settle(null);
  } catch (problem) {
    if (!(problem instanceof Trouble)) throw problem;
    one.haiku = { ...one.haiku, likes: one.haiku.likes - 1 };
    one.like.classList.remove("mine");
    settle({ problem });
  }
  paint(one);
}

function askFirst(one, asking) {
  one.remove.classList.toggle("sure", asking);
  one.remove.textContent = say(asking ? "sure" : "remove");
  one.remove.setAttribute("aria-label", asking ? say("sure") : say("removeIt", one.haiku));
}

async function drop(one) {
  if (!one.remove.classList.contains("sure")) {
    askFirst(one, true);
    return;
  }
  try {
    await ask("DELETE", `/haiku/${encodeURIComponent(one.haiku.item_id)}`);
    posted.delete(one.haiku.item_id);
    take(one.haiku.item_id);
    showQuiet(cards.size ? "" : "empty");
    $("said").textContent = say("deleted");
    $("refresh").focus();
    settle(null);
  } catch (problem) {
    if (!(problem instanceof Trouble)) throw problem;
    settle({ problem });
  }
}

// -- what is said when there is nothing to show, or nothing works ------------------------------------------

function settle(found) {
  trouble = found;
  showTrouble();
}

function showTrouble() {
  const box = $("trouble");
  const seen = trouble ? [language, trouble.problem.key, trouble.problem.details].join(" ") : "";
  if (box.dataset.seen === seen) return; // what was read out once is not read out every half minute
  box.dataset.seen = seen;
  box.replaceChildren();
  if (!trouble) return;
  box.append(make("p", { textContent: say(trouble.problem.key) }));
  if (trouble.problem.details) box.append(make("p", { className: "details", textContent: trouble.problem.details }));
  if (trouble.again) {
    const button = make("button", { type: "button", className: "again", textContent: say("again") });
    button.addEventListener("click", trouble.again);
    box.append(button);
  }
}

function showQuiet(what = quiet) {
  quiet = what;
  $("quiet").className = quiet;
  const lines = quiet ? say(quiet).split("\n") : [];
  $("quiet").replaceChildren(...lines.map((line) => make("span", { textContent: line })));
}

// -- writing ----------------------------------------------------------------------------------------------

function note(name, text) {
  $(`${name}-note`).textContent = text;
  if (text) $(name).setAttribute("aria-invalid", "true");
  else $(name).removeAttribute("aria-invalid");
}

function check(name) {
  const text = $(name).value;
  const count = length(text);
  if (!text.trim()) note(name, say("missing"));
  else if (count > LONGEST[name]) note(name, say("tooLong", { longest: LONGEST[name], count }));
  else if (!visible.test(text)) note(name, say("notText"));
  else note(name, "");
  return !$(name).hasAttribute("aria-invalid");
}

$("compose").addEventListener("input", ({ target }) => {
  const tooLong = length(target.value) > LONGEST[target.name];
  if (tooLong || target.hasAttribute("aria-invalid")) check(target.name);
});

$("compose").addEventListener("keydown", (pressed) => {
  // Return goes to the next line that is still empty, as on paper; from the last one it posts.
  if (pressed.key !== "Enter" || pressed.isComposing || pressed.target.tagName !== "INPUT") return;
  const empty = fields.find((name) => !$(name).value.trim());
  if (!empty || empty === pressed.target.name) return;
  pressed.preventDefault();
  $(empty).focus();
});

$("compose").addEventListener("submit", async (sent) => {
  sent.preventDefault();
  const button = $("compose").querySelector(".main");
  if (button.getAttribute("aria-disabled") === "true") return;
  const wrong = fields.filter((name) => !check(name));
  if (wrong.length) {
    $(wrong[0]).focus();
    return;
  }
  button.setAttribute("aria-disabled", "true");
  $("said").textContent = "…";
  try {
    const { data } = await ask("POST", "/haiku", Object.fromEntries(fields.map((name) => [name, $(name).value])));
    posted.set(data.item_id, Date.now());
    remember("name", data.username);
    put(data, true);
    showQuiet("");
    for (const name of ["first", "second", "third"]) $(name).value = "";
    $("said").textContent = say("posted");
    if (document.activeElement !== button) $("first").focus({ preventScroll: true });
    settle(null);
  } catch (problem) {
    $("said").textContent = "";
    if (!(problem instanceof Trouble)) throw problem;
    settle({ problem });
    $("trouble").scrollIntoView({ block: "nearest" });
  } finally {
    button.removeAttribute("aria-disabled");
  }
});

// -- the address of the API -------------------------------------------------------------------------------

function use(chosen) {
  api = chosen;
  remember(`api instead of ${builtIn}`, chosen === builtIn ? null : chosen);
  $("api").value = chosen;
  note("api", "");
  for (const id of [...cards.keys()]) take(id);
  next = null;
  $("more").hidden = true;
  settle(null);
  showQuiet("loading");
  refresh();
}

$("address").addEventListener("submit", (sent) => {
  sent.preventDefault();
  const chosen = address($("api").value.trim());
  if (chosen) use(chosen);
  else note("api", say("badAddress"));
});

$("address").addEventListener("reset", (pressed) => {
  pressed.preventDefault();
  use(builtIn);
});

// -- beginning --------------------------------------------------------------------------------------------

for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", () => {
    speak(button.dataset.language);
    remember("language", language);
  });
}
$("refresh").addEventListener("click", refresh);
$("more").addEventListener("click", more);
$("api").value = api;
$("username").value = remembered("name") ?? "";
if (!api) $("settings").open = true;
speak(language);
refresh();

const look = () => document.visibilityState === "visible" && api && refresh();
document.addEventListener("visibilitychange", look);
setInterval(look, LOOK_AGAIN_MS);
