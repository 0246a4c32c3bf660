"use strict";
// Without this script every page still works: links open, images show. It adds keys, swaps the
// large image in place, and renews <main> without losing the reader's place.

const main = document.querySelector("main");
const steps = () => [...main.querySelectorAll("[data-step]")];
const thumbs = () => [...main.querySelectorAll(".thumbs [data-page]")];

function show(name) {
  const chosen = thumbs().find((t) => t.dataset.page === name);
  const stage = main.querySelector(".stage");
  if (!chosen || !stage) return;
  thumbs().forEach((t) => t.toggleAttribute("aria-current", t === chosen));
  stage.href = chosen.href;
  stage.firstElementChild.src = chosen.href;
  stage.firstElementChild.alt = name;
}

function shown() {
  return thumbs().findIndex((t) => t.hasAttribute("aria-current"));
}

function turn(by) {
  const all = thumbs();
  if (all.length) show(all[(shown() + by + all.length) % all.length].dataset.page);
}

function move(by) {
  const all = steps();
  const at = all.indexOf(document.activeElement);
  if (all.length) all[Math.min(Math.max(at + by, 0), all.length - 1)].focus();
}

const KEYS = {
  ArrowRight: () => turn(1),
  ArrowLeft: () => turn(-1),
  j: () => move(1),
  k: () => move(-1),
  Escape: () => main.querySelector("[data-up]")?.click(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || !KEYS[event.key]) return;
  event.preventDefault();
  KEYS[event.key]();
});

main.addEventListener("click", (event) => {
  const link = event.target.closest("[data-page]");
  if (!link || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  show(link.dataset.page);
});

async function renew() {
  const answer = await fetch(location.href).catch(() => null);
  main.toggleAttribute("data-stale", !answer?.ok);
  if (answer?.ok) {
    const text = await answer.text();
    const fresh = new DOMParser().parseFromString(text, "text/html").querySelector("main");
    if (fresh && text !== renew.last) {
      const focused = document.activeElement?.getAttribute("href");
      const page = thumbs()[shown()]?.dataset.page;
      main.replaceChildren(...fresh.childNodes);
      main.dataset.refresh = fresh.dataset.refresh;
      if (focused) main.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
      if (page) show(page);
      renew.last = text;
    }
  }
  plan();
}

function plan() {
  const seconds = Number(main.dataset.refresh);
  if (seconds) setTimeout(renew, seconds * 1000);
}

plan();
