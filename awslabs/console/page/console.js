// The console's page: it reads one stream of lines, and draws what they say. All that comes from elsewhere becomes text.
"use strict";

const WORDS = {
  en: {
    title: "awslabs", labs: "Labs on this computer", none: "Nothing was built yet. Try:", key_missing: "This page has no key.",
    key_how: "Open it with the address that this command prints:", gone_server: "The console does not answer. Start it again:",
    glance: "At a glance", map: "The lab", help: "Arrow keys move between things, Enter opens one, Escape closes it.",
    nothing: "Nothing stands any more.", waits: "Waits for: ", happens: "What happens", costs: "What it costs",
    note: "Calls of awslabs' own commands, as they come. What other programs call (the AWS CLI, AWS's web console, programs on servers) is not seen.",
    time: "time", call: "call", row: "thing", outcome: "outcome", ms: "ms", what_cost: "thing", hours: "hours", usd: "USD",
    per_hour: "now, USD per hour", so_far: "so far, USD", ends: "ends in", budget: "budget, USD", things: "things", practice: "Here it is free; on AWS it would cost this.",
    on_aws: "on AWS", sandbox: "on this computer, not AWS", internet: "the internet", at_most: "at most ", more: "and {n} more", over: "now", never: "by you alone",
    "area.run": "What runs", "area.data": "What is kept", "area.door": "Doors", "area.who": "Who may do what", "area.end": "Its end", "area.other": "More",
    zone: "zone {z}", no_zone: "zone not known yet", looked: "AWS was asked {s}; next in {n} s.", unasked: "AWS has not been asked yet.",
    close: "close", is: "What it is", why_there: "Why it is there", boto3: "Its call in Python (boto3)", cli: "The same with the AWS CLI", left_out: "Not kept in the ledger: {names}.",
    state: "state", id: "id", made: "made", price: "price", cost: "has cost", needs: "Needs", needed_by: "Needed by", facts: "What AWS says",
    free: "free", an_hour: "{usd} USD per hour", unknown: "not known", inside_console: "Console output", inside_log: "Newest lines of its log", inside_items: "Its first items", inside_files: "Its first files",
    empty: "nothing yet", not_shown: "not shown: these credentials may not look at it",
    light: "light", dark: "dark", auto: "as the system",
    creating: "being created", standing: "stands", deleting: "being deleted", gone: "gone", refused: "refused", absent: "not shown by AWS", hidden: "not shown", coming: "coming", going: "going", ended: "ended", failed: "failed",
    building: "is being built", "stage.standing": "stands", "stage.going": "is being taken down", "stage.gone": "was taken down", "stage.unread": "cannot be read", "stage.coming": "is being built",
    stands_many: "{n} things", said: "{name}: {state}", lost: "No connection; trying again.", stack: "{n} × {name}", machine: "a machine of Batch, which no row has made",
    "lets in": "lets in", "lets out": "lets out", route: "route",
  },
  ja: {
    title: "awslabs", labs: "このコンピュータのラボ", none: "まだ何もありません。まずは:", key_missing: "このページには鍵がありません。",
    key_how: "次のコマンドが表示するアドレスで開いてください:", gone_server: "コンソールが応答しません。もう一度起動してください:",
    glance: "ひと目で", map: "ラボの地図", help: "矢印キーで移動、Enterで開き、Escで閉じます。",
    nothing: "もう何も残っていません。", waits: "待っています: ", happens: "起きていること", costs: "費用",
    note: "awslabs自身のコマンドの呼び出しだけを表示します。ほかのプログラム(AWS CLI、AWSのWebコンソール、サーバー上のプログラム)の呼び出しは見えません。",
    time: "時刻", call: "呼び出し", row: "もの", outcome: "結果", ms: "ミリ秒", what_cost: "もの", hours: "時間", usd: "USD",
    per_hour: "現在 USD/時", so_far: "これまで USD", ends: "終了まで", budget: "予算 USD", things: "ものの数", practice: "ここでは無料。AWSならこの費用です。",
    on_aws: "AWS", sandbox: "AWSではなくこのコンピュータ", internet: "インターネット", at_most: "最大 ", more: "ほか{n}件", over: "今", never: "自分で終える",
    "area.run": "動くもの", "area.data": "保存するもの", "area.door": "入口", "area.who": "だれが何をできるか", "area.end": "終わらせるもの", "area.other": "その他",
    zone: "ゾーン {z}", no_zone: "ゾーンは未確認", looked: "{s}にAWSへ確認。次は{n}秒後。", unasked: "まだAWSに確認していません。",
    close: "閉じる", is: "これは何か", why_there: "なぜあるのか", boto3: "Python(boto3)での呼び出し", cli: "AWS CLIでの同じ呼び出し", left_out: "台帳に残していないもの: {names}",
    state: "状態", id: "ID", made: "作成", price: "料金", cost: "これまで", needs: "必要とするもの", needed_by: "これを使うもの", facts: "AWSの説明",
    free: "無料", an_hour: "{usd} USD/時", unknown: "不明", inside_console: "コンソール出力", inside_log: "ログの最新行", inside_items: "最初の項目", inside_files: "最初のファイル",
    empty: "まだ何もありません", not_shown: "表示できません: この認証情報には権限がありません",
    light: "明るい", dark: "暗い", auto: "システムに合わせる",
    creating: "作成中", standing: "稼働中", deleting: "削除中", gone: "削除済み", refused: "拒否された", absent: "AWSに見えない", hidden: "表示不可", coming: "準備中", going: "終了中", ended: "終了", failed: "失敗",
    building: "作成中", "stage.standing": "稼働中", "stage.going": "削除中", "stage.gone": "削除済み", "stage.unread": "読めない", "stage.coming": "作成中",
    stands_many: "{n}個", said: "{name}: {state}", lost: "接続が切れました。再接続します。", stack: "{name} × {n}", machine: "Batchの機械(台帳の行はありません)",
    "lets in": "入れる通信", "lets out": "出す通信", route: "経路", addresses: "アドレス", "free addresses": "空きアドレス", type: "種類", "private address": "内側のアドレス", "public address": "公開アドレス", image: "イメージ", disks: "ディスク", since: "開始", size: "大きさ", "exit code": "終了コード", queue: "キュー", children: "子ジョブ", attempts: "試行", types: "種類", "tasks running / waiting": "実行中 / 待ち", runtime: "ランタイム", memory: "メモリ", timeout: "制限時間", role: "ロール", items: "項目", messages: "メッセージ",
  },
};

// Which part of the plan a call's thing belongs to; what stands in a network is drawn there.
const AREAS = {
  "ecs:CreateCluster": "run", "ecs:RegisterTaskDefinition": "run", "ecs:RunTask": "run", "ecr:CreateRepository": "run",
  "batch:CreateComputeEnvironment": "run", "batch:CreateJobQueue": "run", "batch:RegisterJobDefinition": "run", "batch:SubmitJob": "run",
  "lambda:CreateFunction": "run", "ec2:RunInstances": "run",
  "dynamodb:CreateTable": "data", "s3:CreateBucket": "data", "sqs:CreateQueue": "data", "logs:CreateLogGroup": "data", "ssm:PutParameter": "data",
  "apigateway:CreateRestApi": "door", "apigateway:CreateDeployment": "door", "apigateway:CreateStage": "door", "lambda:AddPermission": "door",
  "iam:CreateRole": "who", "iam:PutRolePolicy": "who", "iam:AttachRolePolicy": "who", "iam:CreateInstanceProfile": "who", "iam:AddRoleToInstanceProfile": "who", "ec2:ImportKeyPair": "who",
  "scheduler:CreateSchedule": "end",
};
const IN_VPC = ["ec2:CreateInternetGateway", "ec2:AttachInternetGateway", "ec2:CreateSecurityGroup"];
const IN_SUBNET = ["ec2:RunInstances", "ecs:RunTask", "batch:CreateComputeEnvironment"];
const QUIET = ["iam:CreateRole", "iam:CreateInstanceProfile", "logs:CreateLogGroup"]; // lines to these are drawn for what is opened alone
const ORDER = ["door", "run", "data", "who", "end", "other"];
const SHOWN_OF_MANY = 8;
const CALLS_SHOWN = 200;
const GONE_MS = 8000;

const $ = (id) => document.getElementById(id);
const state = {
  key: "", language: "en", theme: "auto", lab: "", labs: [], rows: new Map(), head: null, shown: {}, others: [], looked: null,
  costs: null, calls: [], waits: new Map(), chosen: null, details: null, inside: null, abort: null, told: [], stream: 0,
};

// -- Small parts ----------------------------------------------------------------------------------------

function t(key, values = {}) {
  const text = WORDS[state.language][key] ?? WORDS.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

const said = (words) => (typeof words === "string" ? words : words?.[state.language] || words?.en || "");

function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

function usd(value, digits = 4) {
  return value === null || value === undefined ? "?" : value.toFixed(digits);
}

function clock(moment) {
  const date = new Date(moment);
  return Number.isNaN(date.getTime()) ? "" : date.toLocaleTimeString(state.language, { hour12: false });
}

function kept(name, value) {
  try {
    if (value !== undefined) sessionStorage.setItem(`awslabs-${name}`, value);
    return sessionStorage.getItem(`awslabs-${name}`) || "";
  } catch {
    return "";
  }
}

// -- The stream -----------------------------------------------------------------------------------------

async function ask(path, signal) {
  const answer = await fetch(path, { headers: { Authorization: `Bearer ${state.key}` }, signal, cache: "no-store" });
  if (answer.status === 401) {
    banner(t("key_missing"), t("key_how"), "python -m awslabs.console");
    throw new DOMException("no key", "NotAllowedError");
  }
  if (!answer.ok) throw new Error(String(answer.status));
  return answer;
}

async function follow() {
  state.abort?.abort();
  if (document.hidden || !state.key) return;
  const abort = new AbortController(), mine = ++state.stream;
  state.abort = abort;
  let pause = 500;
  while (mine === state.stream && !abort.signal.aborted) {
    try {
      const answer = await ask(`api/stream?lab=${encodeURIComponent(state.lab)}`, abort.signal);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      pause = 500;
      banner();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        for (const line of lines) if (line) take(JSON.parse(line));
      }
    } catch (error) {
      if (abort.signal.aborted || error.name === "NotAllowedError") return;
      banner(t("lost"), t("gone_server"), "python -m awslabs.console");
    }
    await new Promise((done) => setTimeout(done, pause));
    pause = Math.min(2 * pause, 10000);
  }
}

function take(event) {
  if (event.key !== undefined && event.key !== state.lab) return;
  const kinds = { labs: takeLabs, lab: takeLab, rows: takeRows, calls: takeCalls, looked: takeLooked, costs: takeCosts };
  kinds[event.type]?.(event);
}

function takeLabs(event) {
  state.labs = event.labs;
  if (state.lab && !state.labs.some((one) => one.key === state.lab)) return open("");
  if (!state.lab) drawLabs();
  drawWhere();
}

function takeLab(event) {
  state.head = event.head;
  state.rows = new Map(event.rows.map((row) => [row.n, row]));
  if (state.chosen && !state.rows.has(state.chosen)) choose(null);
  drawAll();
}

function takeRows(event) {
  for (const row of event.rows) {
    const before = state.rows.get(row.n);
    if (before?.state !== row.state) tell(row);
    if (row.state === "gone" && before) row.left = Date.now();
    state.rows.set(row.n, row);
  }
  for (const number of event.without) state.rows.delete(number);
  draw();
}

function takeCalls(event) {
  for (const line of event.lines) {
    if (line.wait === undefined) state.calls.push(line);
    else if (line.on) state.waits.set(line.wait, line.at);
    else state.waits.delete(line.wait);
  }
  state.calls = state.calls.slice(-CALLS_SHOWN);
  state.lastCall = event.lines.at(-1)?.at ?? state.lastCall;
  drawCalls(event.lines.filter((line) => line.wait === undefined));
  drawWaits();
}

function takeLooked(event) {
  const before = state.shown;
  state.shown = event.shown;
  state.others = event.others;
  state.looked = { at: Date.now(), next: event.next_s };
  for (const [number, one] of Object.entries(event.shown)) {
    const row = state.rows.get(Number(number));
    if (row && before[number] && before[number].state !== one.state) tell(row);
  }
  if (event.banner) banner(event.banner.what, event.banner.why, event.banner.fix);
  else banner();
  draw();
}

function takeCosts(event) {
  state.costs = event;
  drawCosts();
}

function banner(what = "", why = "", fix = "") {
  const place = $("banner");
  place.replaceChildren(...(what ? [make("strong", {}, what), why ? ` ${why}` : "", fix ? make("code", {}, fix) : ""] : []));
  place.hidden = !what;
}

let telling = 0;
function tell(row) {
  state.told.push(t("said", { name: row.name, state: stateOf(row).text }));
  clearTimeout(telling);
  telling = setTimeout(() => {
    const shown = state.told.slice(0, 4), more = state.told.length - shown.length;
    $("said").textContent = shown.join(". ") + (more ? `. ${t("more", { n: more })}` : "");
    state.told = [];
  }, 700);
}

// -- What a row looks like -------------------------------------------------------------------------------

function stateOf(row) {
  const one = state.shown[row.n];
  if (row.state === "creating") return { stage: "coming", text: t("creating") };
  if (row.state === "deleting") return { stage: "going", text: t("deleting") };
  if (row.state === "gone" || row.state === "refused") {
    return { stage: row.work ? "ended" : "gone", text: t(row.work && row.state === "gone" ? "ended" : row.state) };
  }
  if (!one || one.stage === "absent") return { stage: "standing", text: t("standing") };
  return { stage: one.stage, text: one.state || t(one.stage) };
}

function visible(row) {
  if (row.join && row.call !== "apigateway:CreateStage") return false;
  if (row.state === "refused") return false;
  if (row.state !== "gone") return true;
  return row.left !== undefined && Date.now() - row.left < GONE_MS;
}

function reach(row, call) {
  for (const number of row.needs) {
    const found = state.rows.get(number);
    if (found?.call === call) return found;
  }
  return null;
}

// -- The map ------------------------------------------------------------------------------------------------

let scheduled = false;
function draw() {
  if (scheduled) return;
  scheduled = true;
  setTimeout(() => {
    scheduled = false;
    drawMap();
    if (state.chosen) drawPanel();
  }, 0);
}

// What stands where, as nested lists of keys; the map is made anew only if this changes.
function plan() {
  const rows = [...state.rows.values()].filter(visible);
  const vpcs = rows.filter((row) => row.call === "ec2:CreateVpc").map((vpc) => ({ vpc, chips: [], zones: new Map() }));
  const subnets = new Map(), areas = new Map(), stacks = new Map();
  for (const row of rows.filter((one) => one.call === "ec2:CreateSubnet")) {
    const home = vpcs.find((one) => row.needs.includes(one.vpc.n));
    if (!home) continue;
    const zone = state.shown[row.n]?.zone || "";
    const box = { subnet: row, inside: [] };
    subnets.set(row.n, box);
    home.zones.set(zone, [...(home.zones.get(zone) || []), box]);
  }
  const put = (list, row) => {
    if (!row.work) return list.push({ key: `r${row.n}`, row });
    const name = `${row.call} ${row.name.replace(/-?\d+$/, "")}`;
    let stack = stacks.get(name);
    if (!stack) {
      stack = { key: `s${name}`, rows: [] };
      stacks.set(name, stack);
      list.push(stack);
    }
    stack.rows.push(row);
  };
  for (const row of rows) {
    if (row.call === "ec2:CreateVpc") continue;
    const homes = IN_SUBNET.includes(row.call) ? row.needs.map((number) => subnets.get(number)).filter(Boolean) : [];
    const spans = homes.length > 1 && vpcs.find((one) => homes[0].subnet.needs.includes(one.vpc.n));
    if (spans) put(spans.chips, row);
    else if (homes.length) put(homes[0].inside, row);
    else if (subnets.has(row.n)) continue;
    else if (IN_VPC.includes(row.call) && vpcs.length) {
      const within = vpcs.find((one) => row.needs.includes(one.vpc.n)) || vpcs[0];
      put(within.chips, row);
    } else {
      const area = AREAS[row.call] || "other";
      if (!areas.has(area)) areas.set(area, []);
      put(areas.get(area), row);
    }
  }
  for (const other of state.others) {
    const home = [...subnets.values()].find((one) => one.subnet.id === other.subnet) || [...subnets.values()][0];
    if (home) home.inside.push({ key: `o${other.id}`, other });
    else areas.set("run", [...(areas.get("run") || []), { key: `o${other.id}`, other }]);
  }
  return { vpcs, areas };
}

function spread(items) {
  return items.flatMap((item) => {
    if (!item.rows) return [item];
    if (item.rows.length <= SHOWN_OF_MANY) return item.rows.map((row) => ({ key: `r${row.n}`, row }));
    const rank = { failed: 0, standing: 1, going: 2, coming: 3 };
    const first = [...item.rows].sort((a, b) => (rank[stateOf(a).stage] ?? 4) - (rank[stateOf(b).stage] ?? 4) || b.n - a.n);
    return [item, ...first.slice(0, SHOWN_OF_MANY - 1).map((row) => ({ key: `r${row.n}`, row }))];
  });
}

const tiles = new Map();
let signature = "";

function drawMap() {
  const { vpcs, areas } = plan(), world = $("world");
  const things = (items) => spread(items).map((item) => tile(item));
  const seen = new Set();
  const lists = [];
  const note = (items) => {
    const keys = things(items).map((made) => made.dataset.key);
    for (const key of keys) seen.add(key);
    lists.push(keys.join());
  };
  const one = (row) => ({ key: `r${row.n}`, row });
  for (const { vpc, chips, zones } of vpcs) {
    lists.push("vpc");
    note([one(vpc)]);
    note(chips);
    for (const [zone, boxes] of zones) {
      lists.push(`zone ${zone}`);
      for (const { subnet, inside } of boxes) {
        lists.push("subnet");
        note([one(subnet)]);
        note(inside);
      }
    }
  }
  for (const area of ORDER) if (areas.has(area)) { lists.push(area); note(areas.get(area)); }
  const now = [state.language, ...lists].join("|");
  for (const key of tiles.keys()) if (!seen.has(key)) tiles.delete(key);
  if (now !== signature) {
    signature = now;
    const focused = document.activeElement?.dataset?.key;
    const boxes = vpcs.map(({ vpc, chips, zones }) => make("div", { class: "area vpc" },
      make("div", { class: "things" }, tile(one(vpc)), ...things(chips)),
      make("div", { class: "zones" }, ...[...zones].map(([zone, inside]) => make("div", { class: "zone" },
        make("h3", {}, zone ? t("zone", { z: zone }) : t("no_zone")),
        ...inside.map((box) => make("div", { class: "subnet" },
          tile(one(box.subnet)),
          box.inside.length ? make("div", { class: "things" }, ...things(box.inside)) : null)))))));
    const others = ORDER.filter((area) => areas.has(area)).map((area) => make("div", { class: "area" },
      make("h3", {}, t(`area.${area}`)), make("div", { class: "things" }, ...things(areas.get(area)))));
    const lines = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    lines.setAttribute("aria-hidden", "true");
    const internet = vpcs.length || areas.has("door") ? [make("div", { class: "internet" }, t("internet"))] : [];
    world.replaceChildren(...internet, ...boxes, ...others, lines);
    if (focused && tiles.has(focused)) tiles.get(focused).focus({ preventScroll: true });
  }
  $("map-none").hidden = tiles.size > 0;
  rove();
  drawLines();
}

// One thing as a button, made once and then only changed.
function tile(item) {
  let made = tiles.get(item.key);
  if (!made) {
    made = make("button", { type: "button", "data-key": item.key, tabindex: "-1", onclick: () => choose(item.key) }, make("b"), make("i", { class: "state" }), make("i"));
    tiles.set(item.key, made);
  }
  const [name, stands, more] = made.children;
  let stage, texts;
  if (item.rows) {
    const counts = new Map();
    for (const row of item.rows) {
      const { text } = stateOf(row);
      counts.set(text, (counts.get(text) || 0) + 1);
    }
    stage = item.rows.some((row) => stateOf(row).stage === "coming") ? "coming" : "standing";
    const base = item.rows[0].name.replace(/-?\d+$/, "");
    texts = [t("stack", { n: item.rows.length, name: base }), [...counts].map(([text, many]) => `${text} ${many}`).join(" · "), ""];
  } else if (item.other) {
    stage = item.other.stage;
    texts = [item.other.name, item.other.state, item.other.id];
  } else {
    const { row } = item, now = stateOf(row);
    stage = now.stage;
    const price = row.usd_per_hour === null ? "? USD/h" : row.usd_per_hour ? `${usd(row.usd_per_hour)} USD/h` : "";
    texts = [row.name, now.text, [hint(row), price].filter(Boolean).join(" · ")];
  }
  const cls = `thing ${stage}`;
  if (made.className !== cls) made.className = cls;
  for (const [place, text] of [[name, texts[0]], [stands, texts[1]], [more, texts[2]]]) if (place.textContent !== text) place.textContent = text;
  made.setAttribute("aria-current", String(state.chosen === item.key));
  return made;
}

// The one fact that a tile has room for.
function hint(row) {
  const one = state.shown[row.n];
  const why = said(one?.why);
  if (why) return why.slice(0, 90);
  const wanted = { "ec2:CreateSecurityGroup": "lets in", "ec2:RunInstances": "SSH", "ec2:CreateVpc": "addresses", "ec2:CreateSubnet": "addresses", "lambda:CreateFunction": "memory", "sqs:CreateQueue": "messages", "dynamodb:CreateTable": "items", "ecs:CreateCluster": "tasks running / waiting", "batch:CreateComputeEnvironment": "vCPUs", "batch:SubmitJob": "children" }[row.call];
  const found = wanted && one?.facts.find(([name]) => name === wanted);
  if (found) return row.call === "ec2:CreateSecurityGroup" && / |:/.test(said(found[1])) ? said(found[1]) : `${t(found[0])}: ${said(found[1])}`;
  return Object.values(row.telling)[0]?.slice(0, 60) || "";
}

function ends(element, world) {
  const box = element.getBoundingClientRect();
  return { left: box.left - world.left, top: box.top - world.top, width: box.width, height: box.height };
}

// Lines from what was there first to what needs it; not where one box lies in the other.
function drawLines() {
  const svg = $("world").querySelector("svg");
  if (!svg) return;
  const world = $("world").getBoundingClientRect(), chosen = state.chosen, paths = [];
  for (const row of state.rows.values()) {
    const to = tiles.get(`r${row.n}`);
    if (!to || tiles.size > 150) continue;
    for (const number of needsOf(row)) {
      const from = tiles.get(`r${number}`);
      if (!from || from.parentElement === to.parentElement?.parentElement || ["ec2:CreateVpc", "ec2:CreateSubnet"].includes(state.rows.get(number)?.call)) continue;
      const mine = chosen === `r${row.n}` || chosen === `r${number}`;
      if (!mine && QUIET.includes(state.rows.get(number)?.call)) continue;
      const a = ends(from, world), b = ends(to, world);
      const x1 = a.left + a.width / 2, x2 = b.left + b.width / 2;
      const down = a.top < b.top, y1 = down ? a.top + a.height : a.top, y2 = down ? b.top : b.top + b.height, middle = (y1 + y2) / 2;
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("d", `M${x1} ${y1}C${x1} ${middle} ${x2} ${middle} ${x2} ${y2}`);
      if (mine) path.setAttribute("class", "chosen");
      paths.push(path);
    }
  }
  svg.replaceChildren(...paths);
}

// What a row needs, through joins, which are not drawn.
function needsOf(row) {
  return row.needs.flatMap((number) => (state.rows.get(number)?.join ? state.rows.get(number).needs : [number]));
}

// -- Keyboard --------------------------------------------------------------------------------------------------

function rove() {
  const all = [...$("world").querySelectorAll(".thing")];
  const current = all.find((one) => one.tabIndex === 0) || all.find((one) => one.dataset.key === state.chosen) || all[0];
  for (const one of all) one.tabIndex = one === current ? 0 : -1;
}

$("world").addEventListener("keydown", (event) => {
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  const all = [...$("world").querySelectorAll(".thing")], from = document.activeElement;
  let next = { Home: all[0], End: all.at(-1) }[event.key];
  if (way && all.includes(from)) {
    const middle = (one) => { const box = one.getBoundingClientRect(); return [box.left + box.width / 2, box.top + box.height / 2]; };
    const [x, y] = middle(from);
    let best = Infinity;
    for (const one of all) {
      const [left, top] = middle(one), along = (left - x) * way[0] + (top - y) * way[1];
      const across = Math.abs((left - x) * way[1]) + Math.abs((top - y) * way[0]);
      if (one !== from && along > 4 && along + 2.5 * across < best) { best = along + 2.5 * across; next = one; }
    }
  }
  if (!next && !way) return;
  event.preventDefault();
  if (!next) return;
  for (const one of all) one.tabIndex = one === next ? 0 : -1;
  next.focus();
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && state.chosen) leave();
});

function leave() {
  const before = tiles.get(state.chosen);
  choose(null);
  before?.focus();
}

// -- The panel -------------------------------------------------------------------------------------------------

let asking = 0, again = 0;
async function choose(key) {
  state.chosen = key;
  state.details = state.inside = null;
  clearTimeout(again);
  const mine = ++asking;
  for (const [name, one] of tiles) one.setAttribute("aria-current", String(name === key));
  drawPanel(true);
  drawLines();
  if (!key?.startsWith("r")) return;
  const row = key.slice(1), query = `lab=${encodeURIComponent(state.lab)}&row=${row}`;
  try {
    const details = await (await ask(`api/thing?${query}`)).json();
    if (mine !== asking) return;
    state.details = details;
    drawPanel();
  } catch { /* the stream says that there is no connection */ }
  look(query, mine);
}

async function look(query, mine) {
  try {
    if (!document.hidden) {
      const inside = await (await ask(`api/inside?${query}`)).json();
      if (mine !== asking) return;
      const changed = JSON.stringify(inside) !== JSON.stringify(state.inside);
      state.inside = inside;
      if (changed) drawPanel();
      if (!inside.kind && !inside.error && !inside.hidden) return;
    }
  } catch { /* as above */ }
  if (mine === asking) again = setTimeout(() => look(query, mine), 5000);
}

function drawPanel(fresh = false) {
  const panel = $("panel"), key = state.chosen;
  $("lab").classList.toggle("opened", Boolean(key));
  panel.hidden = !key;
  if (!key) return;
  const row = key.startsWith("r") ? state.rows.get(Number(key.slice(1))) : null;
  const other = state.others.find((one) => `o${one.id}` === key);
  const [title, ...parts] = row ? panelOf(row) : other ? panelOfOther(other) : panelOfStack(key);
  if (fresh || $("panel-head")?.textContent !== title || panel.lang !== state.language) {
    panel.lang = state.language;
    const close = make("button", { type: "button", id: "close", class: "small", onclick: leave }, t("close"));
    panel.replaceChildren(make("header", {}, make("h2", { id: "panel-head" }, title), close), make("div"));
    close.focus({ preventScroll: !matchMedia("(max-width: 60rem)").matches });
  }
  // What is said of it is put in place of what was said only where it differs: a selection stays.
  const said = make("div", {}, ...parts.filter(Boolean)), before = panel.lastChild;
  if (before.isEqualNode(said)) return;
  const pre = panel.querySelector("pre.inside"), atEnd = !pre || pre.scrollTop + pre.clientHeight >= pre.scrollHeight - 4, at = pre?.scrollTop;
  before.replaceWith(said);
  const output = panel.querySelector("pre.inside");
  if (output) output.scrollTop = atEnd ? output.scrollHeight : at;
}

function pairs(list) {
  return make("dl", {}, ...list.filter(([, value]) => value).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

const headed = (key, part) => (part ? [make("h3", {}, t(key)), part] : []);

function panelOf(row) {
  const one = state.shown[row.n], now = stateOf(row), details = state.details, inside = state.inside;
  const price = row.usd_per_hour === null ? t("unknown") : row.usd_per_hour ? t("an_hour", { usd: usd(row.usd_per_hour) }) : t("free");
  const link = (number) => {
    const found = state.rows.get(number);
    return found && make("button", { type: "button", class: "small", onclick: () => choose(`r${number}`) }, found.name);
  };
  const uses = [...state.rows.values()].filter((other) => other.needs.includes(row.n) && other.state !== "gone").map((other) => link(other.n));
  return [
    row.name,
    said(details?.what) && make("p", {}, said(details.what)),
    said(details?.why) && make("p", { class: "soft" }, said(details.why)),
    said(one?.why) && make("p", { class: "why" }, said(one.why)),
    pairs([[t("state"), now.text], [t("id"), row.id], [t("made"), row.made && `${row.made.slice(0, 10)} ${clock(row.made)}`], [t("price"), price], [t("cost"), details?.usd ? `${usd(details.usd)} USD` : ""]]),
    one?.stage === "hidden" && make("p", { class: "why" }, t("not_shown")),
    ...headed("facts", one?.facts.length && pairs(one.facts.map(([name, value]) => [t(name), said(value)]))),
    ...headed("needs", row.needs.length && make("div", { class: "links" }, ...row.needs.map(link))),
    ...headed("needed_by", uses.length && make("div", { class: "links" }, ...uses.slice(0, 40))),
    ...headed("boto3", details && make("pre", {}, details.boto3)),
    ...headed("cli", details && make("pre", {}, details.cli)),
    details?.left_out.length ? make("p", { class: "soft" }, t("left_out", { names: details.left_out.join(", ") })) : null,
    inside?.kind || inside?.error || inside?.hidden ? make("h3", {}, t(`inside_${inside.kind || "log"}`)) : null,
    inside?.hidden ? make("p", {}, t("not_shown")) : inside?.error ? make("p", {}, inside.error) : null,
    inside?.kind ? make("pre", { class: "inside", tabindex: "0" }, inside.lines.join("\n") || t("empty")) : null,
  ];
}

function panelOfOther(other) {
  return [other.name, make("p", {}, t("machine")), pairs([[t("id"), other.id], [t("state"), other.state], [t("zone", { z: "" }), other.zone]])];
}

function panelOfStack(key) {
  const rows = [...state.rows.values()].filter((row) => row.work && key === `s${row.call} ${row.name.replace(/-?\d+$/, "")}` && visible(row));
  const shown = rows.slice(-200).reverse();
  return [
    t("stack", { n: rows.length, name: rows[0]?.name.replace(/-?\d+$/, "") ?? "" }),
    make("ul", {}, ...shown.map((row) => make("li", {}, make("button", { type: "button", class: "plain", onclick: () => choose(`r${row.n}`) }, `${row.name} ${row.n}`), ` ${stateOf(row).text} ${said(state.shown[row.n]?.why)}`))),
    rows.length > shown.length ? make("p", { class: "soft" }, t("more", { n: rows.length - shown.length })) : null,
  ];
}

// -- Lists --------------------------------------------------------------------------------------------------------

function drawLabs() {
  const stages = { coming: 0, going: 0, standing: 1, unread: 2, gone: 3 };
  const sorted = [...state.labs].sort((a, b) => stages[a.stage] - stages[b.stage] || b.changed - a.changed);
  $("labs-list").replaceChildren(...sorted.map((one) => make("li", {}, make("button", { type: "button", class: one.stage, onclick: () => open(one.key) },
    make("strong", {}, one.name === "default" ? one.lab : `${one.lab} (${one.name})`),
    make("span", {}, `${t(`stage.${one.stage}`)} · ${t("stands_many", { n: one.open })}${one.usd_per_hour ? ` · ${t("an_hour", { usd: usd(one.usd_per_hour) })}` : ""}`),
    make("span", {}, `${t(one.cloud === "aws" ? "on_aws" : "sandbox")} · ${one.region} · ${one.owner}`),
    one.why ? make("span", {}, one.why) : null))));
  $("labs-none").replaceChildren(t("none"), " ", make("code", {}, "python -m awslabs.ec2 up --sandbox"));
  $("labs-none").hidden = sorted.length > 0;
}

function drawWhere() {
  const lab = state.labs.find((one) => one.key === state.lab);
  $("where").textContent = lab ? `${lab.lab} (${lab.name}) ${t(`stage.${lab.stage}`)} · ${t(lab.cloud === "aws" ? "on_aws" : "sandbox")} · ${lab.account} · ${lab.region} · ${lab.owner}` : "";
  document.title = lab ? `${lab.lab} · awslabs` : "awslabs";
}

function callLine(line) {
  const bad = line.outcome !== "ok";
  return make("tr", { class: bad && "bad" }, make("td", { class: "time" }, clock(line.at)), make("td", {}, line.call), make("td", {}, line.row), make("td", {}, line.outcome), make("td", { class: "number ms" }, String(Math.round(line.ms))));
}

function drawCalls(news = null) {
  const body = $("happens").querySelector("tbody");
  if (news) {
    body.prepend(...news.slice(-CALLS_SHOWN).reverse().map(callLine));
    while (body.children.length > CALLS_SHOWN) body.lastChild.remove();
  } else body.replaceChildren(...[...state.calls].reverse().map(callLine));
}

function drawWaits() {
  const lively = state.lastCall && Date.now() - Date.parse(state.lastCall) < 60000;
  const texts = lively ? [...state.waits].map(([what, at]) => `${what} (${Math.max(0, Math.round((Date.now() - Date.parse(at)) / 1000))} s)`) : [];
  const text = texts.length ? t("waits") + texts.join(", ") : "";
  if ($("waits").textContent !== text) $("waits").textContent = text;
}

function left(moment) {
  const seconds = Math.round((Date.parse(moment) - Date.now()) / 1000);
  if (seconds <= 0) return t("over");
  const two = (value) => String(value).padStart(2, "0");
  return `${Math.floor(seconds / 3600)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
}

function drawFigures() {
  const costs = state.costs, lab = state.labs.find((one) => one.key === state.lab);
  if (!costs) return;
  const ran = costs.per_hour ? ((Date.now() - costs.at) / 3600000) * costs.per_hour : 0;
  const figures = [[t("things"), String(lab?.open ?? "")], [t("per_hour"), usd(costs.per_hour)], [t("so_far"), costs.so_far === null ? "?" : usd(costs.so_far + ran, 5)], [t("ends"), costs.ends ? left(costs.ends) : t("never")]];
  if (costs.budget !== null) figures.push([t("budget"), usd(costs.budget, 2)]);
  const place = $("figures");
  if (place.children.length !== figures.length) place.replaceChildren(...figures.map(() => make("div", {}, make("dt"), make("dd"))));
  figures.forEach(([name, value], number) => {
    const [dt, dd] = place.children[number].children;
    if (dt.textContent !== name) dt.textContent = name;
    if (dd.textContent !== value) dd.textContent = value;
  });
}

function drawCosts() {
  drawFigures();
  const lab = state.labs.find((one) => one.key === state.lab);
  $("costs-note").textContent = lab && lab.cloud !== "aws" ? t("practice") : "";
  const lines = (state.costs?.lines || []).map((line) => make("tr", {}, make("td", {}, line.what), make("td", { class: "number" }, line.hours ? line.hours.toFixed(2) : ""), make("td", { class: "number" }, (line.at_most ? t("at_most") : "") + usd(line.usd, 5))));
  if (state.costs?.more) lines.push(make("tr", {}, make("td", { colspan: "3" }, t("more", { n: state.costs.more }))));
  $("costs").querySelector("tbody").replaceChildren(...lines);
}

function drawWords() {
  document.documentElement.lang = state.language;
  $("language").textContent = state.language === "en" ? "日本語" : "English";
  $("language").lang = state.language === "en" ? "ja" : "en";
  $("theme").textContent = t(state.theme);
  for (const [id, key] of [["labs-head", "labs"], ["map-head", "map"], ["map-help", "help"], ["map-none", "nothing"], ["happens-head", "happens"], ["costs-head", "costs"], ["money-head", "glance"], ["happens-note", "note"]]) $(id).textContent = t(key);
  const head = (id, names) => $(id).querySelector("thead tr").replaceChildren(...names.map(([name, cls]) => make("th", { scope: "col", class: cls }, t(name))));
  head("happens", [["time", "time"], ["call"], ["row"], ["outcome"], ["ms", "number ms"]]);
  head("costs", [["what_cost"], ["hours", "number"], ["usd", "number"]]);
}

function drawAll() {
  drawWords();
  $("labs").hidden = Boolean(state.lab);
  $("lab").hidden = !state.lab;
  drawWhere();
  if (!state.lab) return drawLabs();
  drawMap();
  drawCalls();
  drawCosts();
  drawPanel();
}

// Once a second: what goes by the clock. Nothing else is drawn while nothing happens.
setInterval(() => {
  if (document.hidden || !state.lab) return;
  drawFigures();
  drawWaits();
  if ([...state.rows.values()].some((row) => row.left && Date.now() - row.left > GONE_MS && tiles.has(`r${row.n}`))) draw();
  const text = state.looked ? t("looked", { s: clock(state.looked.at), n: state.looked.next }) : t("unasked");
  if ($("looked").textContent !== text) $("looked").textContent = text;
}, 1000);

// -- Where one is ------------------------------------------------------------------------------------------------

function open(key) {
  if (state.lab === key && state.abort) return;
  Object.assign(state, { lab: key, rows: new Map(), shown: {}, others: [], looked: null, costs: null, calls: [], waits: new Map(), head: null, lastCall: null });
  choose(null);
  signature = "";
  tiles.clear();
  $("world").replaceChildren();
  $("figures").replaceChildren();
  history[location.hash === (key && `#lab=${key}`) ? "replaceState" : "pushState"](null, "", key ? `#lab=${key}` : location.pathname);
  drawAll();
  follow();
}

function theme() {
  const dark = state.theme === "dark" || (state.theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}

$("home").addEventListener("click", () => open(""));
$("language").addEventListener("click", () => {
  state.language = kept("language", state.language === "en" ? "ja" : "en");
  signature = "";
  drawAll();
});
$("theme").addEventListener("click", () => {
  state.theme = kept("theme", { auto: "dark", dark: "light", light: "auto" }[state.theme]);
  theme();
  $("theme").textContent = t(state.theme);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", theme);
document.addEventListener("visibilitychange", follow);
addEventListener("popstate", () => open(location.hash.startsWith("#lab=") ? location.hash.slice(5) : ""));
addEventListener("pagehide", () => state.abort?.abort());
new ResizeObserver(drawLines).observe($("world"));

(function begin() {
  const hash = location.hash.slice(1);
  if (hash && !hash.startsWith("lab=")) {
    kept("key", hash);
    history.replaceState(null, "", location.pathname);
  }
  state.key = kept("key");
  state.language = kept("language") || (navigator.language.startsWith("ja") ? "ja" : "en");
  state.theme = kept("theme") || "auto";
  theme();
  drawAll();
  if (!state.key) return banner(t("key_missing"), t("key_how"), "python -m awslabs.console");
  open(location.hash.startsWith("#lab=") ? location.hash.slice(5) : "");
})();
