// Copy buttons: the only thing here that needs a script.
"use strict";

document.documentElement.classList.add("scripted");
const announcer = document.getElementById("page-status");
let fading;

function say(text) {
  announcer.textContent = text;
  clearTimeout(fading);
  fading = setTimeout(() => { announcer.textContent = ""; }, 5000);
}

function select(element, text) {
  element.textContent === text || element.closest("pre") || (element.textContent = text);
  const range = document.createRange();
  range.selectNodeContents(element);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button.copy");
  if (!button) return;
  const source = button.parentElement.querySelector("code");
  const text = button.dataset.copy ?? source.textContent.replace(/\n$/, "");
  try {
    await navigator.clipboard.writeText(text); // missing on plain http from another machine
    say("Copied");
  } catch {
    select(source, text);
    say("Copying is not allowed here. The text is selected: press Ctrl+C or ⌘C");
  }
});
