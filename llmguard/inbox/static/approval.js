// One approval: ticks what was on the screen, opens "approve" when that is all of it, and says at once when time is over.
// The server asks for every tick too; this only spares the hand that reads.
"use strict";

const side = document.getElementById("side");
const boxes = [...document.querySelectorAll("input[name=seen][form=decide]")];
let typed = "";

/** What is still to be looked at, beside the button that waits for it. */
function weigh() {
  const approve = document.getElementById("approve");
  const left = document.getElementById("left");
  if (!approve || !left || approve.dataset.sent !== undefined) return;
  if (!document.querySelector(".leaving [name=_resume][form=decide]")) { // not at the end of a long body yet
    const wanting = boxes.filter((box) => !box.checked);
    approve.disabled = wanting.length > 0;
    left.hidden = wanting.length === 0;
    if (wanting.length) {
      const part = wanting[0].closest(".part");
      const link = document.createElement("a");
      link.href = `#${part.id}`;
      link.textContent = "the next one";
      const count = wanting.length === 1 ? "1 part is" : `${wanting.length} parts are`;
      const words = `${count} still to be looked at: `;
      if (!left.textContent.startsWith(words)) left.replaceChildren(words, link);
    }
  }
}

/** A part was looked at once its end was on the screen for a moment, and it was open. */
const due = new Map();
const ends = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const box = entry.target.querySelector("input");
    clearTimeout(due.get(box));
    if (!entry.isIntersecting || document.hidden || box.checked) continue;
    due.set(box, setTimeout(() => { box.checked = true; weigh(); }, 400));
  }
}, { threshold: 1 });

for (const box of boxes) {
  box.addEventListener("change", weigh);
  if (!box.checked) ends.observe(box.closest("label"));
}
/** Enter in a box decides nothing, in any form here. */
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches?.("input[type=checkbox]")) event.preventDefault();
});

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("#left a");
  const part = link && document.querySelector(link.hash);
  if (part?.tagName === "DETAILS") part.open = true;
});

// ---------------------------------------------------------------- while it is looked at

side?.addEventListener("input", (event) => {
  if (event.target.name === "reason") typed = event.target.value;
});

/** Whoever was typing when it ended finds the words again. */
new MutationObserver(() => {
  const over = document.getElementById("over");
  if (!typed || document.getElementById("reason") || !over || document.getElementById("had-typed")) return;
  const box = document.createElement("p");
  box.id = "had-typed";
  box.className = "card";
  box.textContent = `You had typed: ${typed}`;
  over.after(box);
}).observe(side ?? document.body, { childList: true, subtree: true });

/** When the time is over it is asked at once, and not with the next news. */
let asked = "";
async function expire() {
  const status = document.getElementById("status");
  const ends = status?.dataset.expires;
  if (!ends || asked === ends || Date.now() <= Number(ends)) return;
  asked = ends;
  for (const button of side.querySelectorAll("button")) button.disabled = true;
  const answer = await fetch(side.dataset.live, { headers: { "x-llmguard-live": "0" }, cache: "no-store", redirect: "error" }).catch(() => null);
  if (answer?.status === 200) show(side, await answer.text());
  else asked = "";
}

/** What is not this person's to see any more leaves the screen, too. */
side?.addEventListener("llmguard:gone", () => document.querySelector(".case")?.replaceChildren());

setInterval(expire, 1000);
weigh();
