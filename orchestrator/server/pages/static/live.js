// Keeps a page up to date: the server sends the parts of it that changed. Without this script the page is as it was made.
"use strict";
// What a person typed, opened and scrolled in a part stays so in its new one.
function keep(old, made) {
  const same = (one) => one.id && made.getElementById(one.id);
  for (const one of old.querySelectorAll("input, textarea, select")) {
    const next = same(one);
    if (!next) continue;
    if (one.type === "checkbox") next.checked = one.checked;
    else if (one.tagName === "SELECT" || one.value !== one.defaultValue) next.value = one.value;
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
if (name) {
  const stale = document.getElementById("stale");
  let latest = new Date();
  const source = new EventSource("/live?page=" + encodeURIComponent(name));
  source.addEventListener("part", (event) => {
    latest = new Date();
    stale.hidden = true;
    const part = JSON.parse(event.data);
    const old = document.getElementById(part.id);
    if (!old) return;
    const made = document.createElement("template");
    made.innerHTML = part.html;
    const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
    keep(old, made.content);
    old.replaceWith(made.content);
    if (focused) document.getElementById(focused)?.focus();
  });
  source.addEventListener("open", () => { stale.hidden = true; });
  source.addEventListener("error", () => {
    document.getElementById("stale-at").textContent = latest.toLocaleTimeString();
    stale.hidden = false;
  });
}
