// Keeps a page up to date: the server sends the parts of it that changed. Without this script the page is as it was made.
"use strict";
// Instants are told in UTC; the clock of who looks is a hint of each.
document.addEventListener("mouseover", ({target}) => {
  const time = target.closest?.("time:not([title])");
  if (time) time.title = new Date(time.dateTime).toLocaleString(undefined, {timeZoneName: "short"});
});
// A form that came back with a mistake holds what was typed from the beginning.
const isDraft = "draft" in document.body.dataset;
function isTyped(one) {
  return one.value.trim() !== "" && (isDraft || one.value !== one.defaultValue);
}
// What was asked is gone: somebody else answered. What was typed for it is not lost.
function giveBack(part, text) {
  const note = document.createElement("div");
  note.className = "told";
  note.setAttribute("role", "status");
  note.append("What you were answering is not asked any more: somebody answered it, or the run ended. You had typed:");
  const typed = document.createElement("div");
  typed.className = "text";
  typed.textContent = text;
  note.append(typed);
  part.before(note);
}
// What a person typed, opened and scrolled in a part stays so in its new one.
function keep(old, made) {
  const same = (one) => one.id && made.getElementById(one.id);
  for (const one of old.querySelectorAll("input, textarea, select")) {
    const next = same(one);
    if (!next) {
      if (one.tagName === "TEXTAREA" && isTyped(one)) giveBack(old, one.value);
      continue;
    }
    if (one.type === "checkbox") next.checked = one.checked;
    else if (one.tagName === "SELECT" || isTyped(one)) next.value = one.value;
  }
  for (const one of old.querySelectorAll("details[open]")) {
    const next = same(one) || same(one.querySelector("summary"))?.parentElement;
    if (next) next.open = true;
  }
  const scrolled = [...old.querySelectorAll("[tabindex]")].map((one) => [one.id, one.scrollLeft, one.scrollTop]);
  requestAnimationFrame(() => {
    for (const [id, left, top] of scrolled) document.getElementById(id)?.scrollTo(left, top);
  });
}
const name = document.body.dataset.live;
const stale = document.getElementById("stale");
let latest = new Date();
function part(event) {
  latest = new Date();
  stale.hidden = true;
  const part = JSON.parse(event.data);
  const old = document.getElementById(part.id);
  if (!old) return;
  const made = document.createElement("template");
  made.innerHTML = part.html;
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  const [from, to] = [focused?.selectionStart, focused?.selectionEnd];
  keep(old, made.content);
  old.replaceWith(made.content);
  if (!focused?.id) return;
  const next = document.getElementById(focused.id);
  next?.focus();
  if (Number.isInteger(from)) next?.setSelectionRange?.(from, to);
}
function lost() {
  document.getElementById("stale-at").textContent = latest.toISOString().slice(0, 19).replace("T", " ") + " UTC";
  stale.hidden = false;
}
function listen() {
  const source = new EventSource("/live?page=" + encodeURIComponent(name));
  source.addEventListener("part", part);
  source.addEventListener("open", () => {
    stale.hidden = true;
    document.getElementById("stale-login").hidden = true;
  });
  source.addEventListener("error", () => {
    lost();
    if (source.readyState === EventSource.CLOSED) again(); // it was refused: the browser does not try again by itself
  });
}
async function again() {
  const answer = await fetch(name).catch(() => null);
  document.getElementById("stale-login").hidden = answer?.status !== 401;
  setTimeout(listen, answer?.status === 401 ? 15000 : 5000);
}
if (name) listen();
