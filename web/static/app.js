// Keeps a page up to date: asks for the same page again and changes, inside [data-live], only what differs. So focus, scroll,
// selection and open details stay. It also copies log lines. Without this script every page says the same once.
"use strict";
(() => {
  const every = Number(document.body.dataset.refresh) || 0;
  const label = document.getElementById("heard");
  let heard = Date.now();
  let trouble = "";
  let busy = false;

  function attributes(old, fresh) {
    for (const { name } of [...old.attributes]) {
      if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
  }

  const keyOf = (node) => (node.nodeType === 1 ? node.dataset.key || null : null);

  function morph(old, fresh) {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
      old.replaceWith(document.importNode(fresh, true));
    } else if (old.nodeType !== 1) {
      if (old.data !== fresh.data) old.data = fresh.data;
    } else {
      attributes(old, fresh);
      children(old, fresh);
    }
  }

  function children(old, fresh) {
    const wanted = new Set([...fresh.children].map(keyOf).filter(Boolean));
    const known = new Map([...old.children].filter(keyOf).map((node) => [keyOf(node), node]));
    let at = old.firstChild;
    for (const node of [...fresh.childNodes]) {
      while (at && keyOf(at) && !wanted.has(keyOf(at))) {
        const gone = at;
        at = at.nextSibling;
        gone.remove();
      }
      const key = keyOf(node);
      const have = key ? known.get(key) : at && !keyOf(at) ? at : null;
      known.delete(key);
      if (!have) {
        old.insertBefore(document.importNode(node, true), at);
      } else {
        if (have === at) at = at.nextSibling;
        else old.insertBefore(have, at);
        morph(have, node);
      }
    }
    while (at) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
  }

  function isSelecting(element) {
    const selection = document.getSelection();
    return Boolean(selection && !selection.isCollapsed && selection.containsNode(element, true));
  }

  function take(html) {
    const fresh = new DOMParser().parseFromString(html, "text/html");
    for (const old of document.querySelectorAll("[data-live]")) {
      const found = fresh.getElementById(old.id);
      if (found && !isSelecting(old)) morph(old, found);
    }
  }

  function show() {
    const seconds = Math.round((Date.now() - heard) / 1000);
    const late = Boolean(trouble) || seconds > 10;
    const text = trouble ? `${trouble}; as of ${seconds} s ago` : `live · heard ${seconds < 1 ? "now" : `${seconds} s ago`}`;
    if (label.textContent !== text) label.textContent = text;
    label.classList.toggle("late", late);
  }

  async function ask() {
    if (document.hidden || busy) return;
    busy = true;
    try {
      const answer = await fetch(location.href, { redirect: "manual", cache: "no-store", signal: AbortSignal.timeout(8000) });
      if (answer.type === "opaqueredirect") {
        trouble = "signed out";
      } else if (answer.ok || answer.status === 503) {
        take(await answer.text());
        if (answer.ok) heard = Date.now();
        trouble = answer.ok ? "" : "Redis is away";
      } else {
        trouble = `the server answers ${answer.status}`;
      }
    } catch {
      trouble = "no answer from the server";
    }
    busy = false;
    show();
  }

  // A line as it stands, by the clipboard where the page may use it (https and this machine), else by selecting it.
  async function copy(button) {
    const line = button.parentElement;
    const parts = [...line.children].filter((child) => child !== button);
    const text = parts.map((child) => (child.nodeName === "TIME" ? child.dateTime : child.textContent).trim()).join(" ");
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const range = document.createRange();
      range.selectNodeContents(line);
      range.setEndBefore(button);
      document.getSelection().removeAllRanges();
      document.getSelection().addRange(range);
      document.execCommand("copy");
    }
    button.textContent = "Copied";
    button.classList.add("copied");
    setTimeout(() => {
      button.textContent = "Copy";
      button.classList.remove("copied");
    }, 1500);
  }

  document.documentElement.classList.add("scripted");
  document.addEventListener("click", (event) => {
    const button = event.target instanceof Element && event.target.closest("button.copy");
    if (button) copy(button);
  });

  // What an action did is told once: reloading the page tells it no more.
  const here = new URL(location.href);
  if (here.searchParams.has("did")) {
    here.searchParams.delete("did");
    history.replaceState(null, "", here);
  }

  if (!every || !label) return;
  show();
  setInterval(ask, every);
  setInterval(show, 1000);
  document.addEventListener("visibilitychange", ask);
})();
