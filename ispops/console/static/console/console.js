/* Keys, copying, and forms of many kinds. All of the console works without a script of ours. */
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const typing = (element) =>
    element.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(element.tagName);

  const ROWS = "[data-rows] > tr, #result_list > tbody > tr";

  // Rows of a queue are walked with j and k and opened with Enter, as in a mail program.
  const rows = () => Array.from(document.querySelectorAll(ROWS));
  const choose = (step) => {
    const all = rows();
    if (!all.length) return;
    const now = all.findIndex((row) => row.classList.contains("c-chosen"));
    const next = Math.min(Math.max(now + step, 0), all.length - 1);
    if (now >= 0) all[now].classList.remove("c-chosen");
    all[next].classList.add("c-chosen");
    all[next].scrollIntoView({ block: "nearest" });
  };

  document.addEventListener("keydown", (event) => {
    const searching = (event.ctrlKey || event.metaKey) && event.key === "k";
    if (!searching && (event.ctrlKey || event.metaKey || event.altKey || typing(event.target))) {
      return;
    }
    if (searching || event.key === "/") {
      const boxes = Array.from(document.querySelectorAll("[data-search]"));
      const box = boxes.find((candidate) => candidate.offsetParent !== null);
      if (box) {
        event.preventDefault();
        box.focus();
        box.select();
      }
    } else if (event.key === "j" || event.key === "k") {
      choose(event.key === "j" ? 1 : -1);
    } else if (event.key === "x") {
      const box = document.querySelector("tr.c-chosen input[type=checkbox]");
      if (box) box.checked = !box.checked;
    } else if (/^[a-z]$/.test(event.key) && document.querySelector(`tr.c-chosen [data-key="${event.key}"]`)) {
      // The key only goes to the button, which says what it does; Enter presses it.
      event.preventDefault();
      document.querySelector(`tr.c-chosen [data-key="${event.key}"]`).focus();
    } else if (event.key === "Enter" && event.target === document.body) {
      const chosen = document.querySelector("tr.c-chosen a");
      if (chosen) chosen.click();
    }
  });

  // Unfold writes the name of a chosen file into a text box beside it, which only its own widget
  // has. It leaves alone what has this mark.
  document.querySelectorAll(".c-field input[type=file]").forEach((input) => {
    input.hasChangeListener = true;
  });

  // Of a form of many kinds, what belongs to another kind is hidden and not sent.
  const showKind = () => {
    const form = document.querySelector("[data-kinds]");
    if (!form) return;
    const chosen = form.querySelector("[name=kind]");
    form.querySelectorAll("[data-when]").forEach((part) => {
      const belongs = part.dataset.when.split(" ").includes(chosen.value);
      part.hidden = !belongs;
    });
    form.querySelectorAll("input, select, textarea").forEach((input) => {
      if (input.type !== "hidden") input.disabled = input.closest("[data-when][hidden]") !== null;
    });
    const amount = chosen.selectedOptions[0].dataset.amount;
    const label = form.querySelector("label[for=id_amount]");
    if (amount && label) label.textContent = amount;
  };
  showKind();
  document.addEventListener("htmx:afterSettle", showKind);
  document.addEventListener("input", (event) => {
    if (event.target.name === "kind") showKind();
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    navigator.clipboard.writeText(button.dataset.copy).then(() => {
      const sign = button.querySelector("span");
      sign.textContent = "check";
      setTimeout(() => { sign.textContent = "content_copy"; }, 1200);
    });
  });
});
