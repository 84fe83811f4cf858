// Keeps a page up to date: the server sends the parts of it that changed. Without this script the page is as it was made.
"use strict";
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
    old.replaceWith(made.content);
    if (focused) document.getElementById(focused)?.focus();
  });
  source.addEventListener("open", () => { stale.hidden = true; });
  source.addEventListener("error", () => {
    document.getElementById("stale-at").textContent = latest.toLocaleTimeString();
    stale.hidden = false;
  });
}
