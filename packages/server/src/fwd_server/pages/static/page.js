// Gives each snippet a button that copies it. The page is whole without: a snippet can be selected by hand.
"use strict";

const SHOWN_MS = 2000;

function selectSnippet(snippet) {
  const range = document.createRange();
  range.selectNodeContents(snippet);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
}

async function copySnippet(snippet) {
  // Browsers offer the clipboard on https and on this machine only; elsewhere the selection is copied, as by hand.
  if (navigator.clipboard) return navigator.clipboard.writeText(snippet.textContent);
  selectSnippet(snippet);
  if (!document.execCommand("copy")) throw new Error("the browser does not allow it");
}

function addButton(snippet) {
  const name = snippet.getAttribute("aria-label");
  const button = document.createElement("button");
  const say = (text) => {
    button.textContent = text;
    button.setAttribute("aria-label", `${text}: ${name}`);
  };
  say("Copy");
  button.type = "button";
  button.setAttribute("aria-live", "polite");
  button.addEventListener("click", async () => {
    try {
      await copySnippet(snippet);
      say("Copied");
    } catch {
      selectSnippet(snippet);
      say("Press Ctrl-C");
    }
    setTimeout(() => say("Copy"), SHOWN_MS);
  });
  const frame = document.createElement("div");
  frame.className = "snippet";
  snippet.replaceWith(frame);
  // Before the snippet, so that a keyboard reaches the button first and a long line does not scroll it away.
  frame.append(button, snippet);
}

document.querySelectorAll("pre").forEach(addButton);
