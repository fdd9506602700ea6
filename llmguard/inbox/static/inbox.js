// What pages do beyond links and forms: parts that follow what happens, single keys, times that go on, no double sending.
// Everything works without it. It stores nothing and talks to this origin alone.
"use strict";

// ---------------------------------------------------------------- times

const STEPS = [[86400, "d", 172800], [3600, "h", 7200], [60, "min", 60]];

/** The same words as `_span` in text.py. */
function span(ms) {
  const seconds = Math.floor(Math.abs(ms) / 1000);
  const step = STEPS.find(([, , least]) => seconds >= least);
  const told = step ? `${Math.floor(seconds / step[0])} ${step[1]}` : "less than a minute";
  return ms > 0 ? `in ${told}` : `${told} ago`;
}

function tick() {
  for (const time of document.querySelectorAll("time[data-since]")) {
    const told = span(Date.parse(time.dateTime) - Date.now());
    if (time.textContent !== told) time.textContent = told;
  }
}

// ---------------------------------------------------------------- parts that follow what happens

const notice = document.getElementById("notice");
const news = document.getElementById("news");

function tell(text, link) {
  if (notice.dataset.told === text) return;
  notice.dataset.told = text;
  notice.replaceChildren(text);
  if (link) {
    const a = document.createElement("a");
    a.href = link;
    a.textContent = "Log in";
    notice.append(" ", a);
  }
  notice.hidden = !text;
}

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));
const inSight = () => new Promise((done) => {
  if (!document.hidden) return done();
  document.addEventListener("visibilitychange", done, { once: true });
});

/** Morphs what changed into the page: the focus, a selection, an open part and what was typed stay. */
function show(part, html) {
  Idiomorph.morph(part, html, {
    morphStyle: "innerHTML",
    ignoreActiveValue: true,
    restoreFocus: true,
    callbacks: {
      beforeAttributeUpdated: (name, node) => !(name === "open" && node.tagName === "DETAILS"),
      beforeNodeMorphed: (before) => !(before.dataset && "still" in before.dataset),
    },
  });
  tick();
  const titled = part.querySelector("[data-title]");
  if (titled) document.title = titled.dataset.title;
  const said = part.querySelector("[data-news]");
  if (said && news.textContent !== said.dataset.news) news.textContent = said.dataset.news;
}

const LONGEST = 45000; // ms that an answer may take which waits for news 25 s at most

async function follow(part, stopped) {
  const every = Number(part.dataset.every || 0);
  let etag = part.dataset.etag || "";
  for (let failures = 0; !stopped.aborted;) {
    if (every) await pause(every);
    await inSight();
    let answer;
    try {
      answer = await fetch(part.dataset.live, {
        headers: { "x-llmguard-live": every ? "0" : "25", "if-none-match": etag },
        cache: "no-store", redirect: "error", signal: AbortSignal.any([stopped, AbortSignal.timeout(LONGEST)]),
      });
      if (answer.status === 401) {
        const here = encodeURIComponent(location.pathname + location.search);
        return tell("Your session is over: this page shows nothing new.", `/inbox/login?over=1&next=${here}`);
      }
      if (answer.status === 200) {
        const html = await answer.text();
        etag = answer.headers.get("etag") || "";
        show(part, html);
      } else if (answer.status === 403 || answer.status === 404) {
        part.dispatchEvent(new Event("llmguard:gone"));
        return tell("This is not yours to see any more. Load the page again.");
      } else if (answer.status !== 304) throw new Error(String(answer.status));
      failures = 0;
      tell("");
    } catch {
      if (stopped.aborted) return;
      failures += 1;
      if (failures > 1) tell("The guard does not answer: this page may be out of date. Trying again.");
      await pause(Math.min(30, 2 ** failures));
    }
  }
}

let leaving = new AbortController();
function followAll() {
  for (const part of document.querySelectorAll("[data-live]")) follow(part, leaving.signal);
}
addEventListener("pagehide", () => leaving.abort());
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  leaving = new AbortController();
  followAll();
  for (const button of document.querySelectorAll("button[data-sent]")) wake(button);
});

// ---------------------------------------------------------------- a guard that is slow

addEventListener("beforeunload", () => {
  setTimeout(() => {
    document.documentElement.classList.add("slow");
    news.textContent = "Loading …";
  }, 700);
  setTimeout(() => document.documentElement.classList.remove("slow"), 20000); // it was a download, or it was stopped
});

// ---------------------------------------------------------------- forms

function wake(button) {
  button.disabled = false;
  button.removeAttribute("data-sent");
  button.removeAttribute("aria-busy");
}

document.addEventListener("submit", (event) => {
  const button = event.submitter;
  if (!button || event.target.method !== "post") return;
  setTimeout(() => { // after the browser has taken the button's own value
    if (event.defaultPrevented) return;
    button.dataset.sent = "";
    button.setAttribute("aria-busy", "true");
    button.disabled = true;
    if ("download" in event.target.dataset) setTimeout(() => wake(button), 2000); // a file comes, and the page stays
  });
});

// ---------------------------------------------------------------- keys

const VERDICTS = { a: "approve", d: "deny", r: "changes" };

function typing(target) {
  return target.closest?.("input:not([type=radio]):not([type=checkbox]):not([type=button]):not([type=submit]), textarea, select, [contenteditable], dialog[open]");
}

function rowOf(target) {
  return target.closest?.("[data-row]");
}

function move(by) {
  const rows = [...document.querySelectorAll("[data-row]")];
  if (!rows.length) return;
  const at = rows.indexOf(rowOf(document.activeElement));
  const next = rows[at < 0 ? 0 : Math.max(0, Math.min(rows.length - 1, at + by))];
  next.querySelector("a").focus();
  next.scrollIntoView({ block: "nearest" });
}

/** Goes to what stands for a verdict; it is sent by nothing but its own button. */
function toVerdict(id) {
  const here = document.getElementById(id);
  if (here && !here.disabled) {
    if (here.type === "radio" && !here.checked) here.click();
    here.focus();
    return true;
  }
  const link = rowOf(document.activeElement)?.querySelector("a.main");
  if (link) location.assign(`${link.href}#${id}`);
  return Boolean(link);
}

document.addEventListener("keydown", (event) => {
  if (document.documentElement.dataset.keys !== "on" || event.defaultPrevented || event.isComposing) return;
  if (event.ctrlKey || event.altKey || event.metaKey || typing(event.target)) return;
  const keys = document.getElementById("keys");
  let done = true;
  if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (event.key in VERDICTS) done = toVerdict(VERDICTS[event.key]);
  else if (event.key === "/" && document.querySelector("[data-search]")) {
    const field = document.querySelector("[data-search]");
    const folded = field.closest("details");
    if (folded) folded.open = true;
    field.focus();
  } else if (event.key === "?" && keys) keys.showModal();
  else done = false;
  if (done) event.preventDefault();
});

for (const button of document.querySelectorAll("[data-opens]")) {
  button.hidden = false;
  button.addEventListener("click", () => document.getElementById(button.dataset.opens).showModal());
}

// ---------------------------------------------------------------- at the start

document.querySelector("form[data-go]")?.requestSubmit();
if (Object.values(VERDICTS).includes(location.hash.slice(1))) toVerdict(location.hash.slice(1));
tick();
setInterval(tick, 15000);
followAll();
