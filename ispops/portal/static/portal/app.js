/* What the pages do beyond plain HTML. Every page works without it. */

"use strict";

/* --- A form is sent once, however often its button is pressed ---------------------------------- */

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "yes";
  for (const button of form.querySelectorAll("button")) button.setAttribute("aria-disabled", "true");
});

/* A page that the back button brings back may be sent again. */
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
    for (const button of form.querySelectorAll("button")) button.removeAttribute("aria-disabled");
  }
});

/* --- The reader is taken to what is wrong ------------------------------------------------------ */

document.getElementById("error-summary")?.focus();

/* --- A place can be told by the browser instead of typed ---------------------------------------- */

for (const form of document.querySelectorAll("[data-locate]")) {
  if (!navigator.geolocation || !window.isSecureContext) continue;
  const said = form.querySelector("[aria-live]");
  const button = form.querySelector("button");
  form.hidden = false;

  const found = ({ coords }) => {
    if (coords.accuracy > 500) return failed();
    form.elements.latitude.value = coords.latitude.toFixed(6);
    form.elements.longitude.value = coords.longitude.toFixed(6);
    form.requestSubmit();
  };
  const failed = () => {
    button.disabled = false;
    said.textContent = "Your browser does not know well enough where you are. Enter your address.";
  };

  /* A page that the back button brings back may ask again. */
  window.addEventListener("pageshow", () => {
    button.disabled = false;
    said.textContent = "";
  });

  button.addEventListener("click", () => {
    button.disabled = true;
    said.textContent = "Asking your browser where you are …";
    navigator.geolocation.getCurrentPosition(found, failed, {
      enableHighAccuracy: true,
      timeout: 15000,
    });
  });
}

/* --- Ids can be copied ------------------------------------------------------------------------- */

/* Runs for the page, and for each part of it that is drawn again later. */
document.addEventListener("htmx:load", (event) => {
  if (!navigator.clipboard) return;
  for (const button of event.target.querySelectorAll("[data-copy]")) button.hidden = false;
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.copy);
  button.textContent = "Copied";
});

/* --- Pages that are made for paper ------------------------------------------------------------- */

document.addEventListener("htmx:load", (event) => {
  for (const button of event.target.querySelectorAll("[data-print]")) button.hidden = false;
});

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-print]")) window.print();
});

/* --- Suggestions under a field (WAI-ARIA combobox with a list) --------------------------------- */

for (const combo of document.querySelectorAll("[data-combo]")) {
  const input = combo.querySelector("input[role=combobox]");
  const chosen = combo.querySelector("input[type=hidden]");
  const list = combo.querySelector("[role=listbox]");
  const options = () => [...list.querySelectorAll("[role=option]")];
  const active = () => list.querySelector("[aria-selected=true]");

  const close = () => {
    list.replaceChildren();
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };

  const choose = (option) => {
    chosen.value = option.dataset.id;
    input.value = option.dataset.text;
    close();
    input.focus();
    if (chosen.value) return;
    /* A street: its number is typed next, before it. */
    input.value = ` ${option.dataset.text}`;
    input.setSelectionRange(0, 0);
  };

  const mark = (option) => {
    active()?.setAttribute("aria-selected", "false");
    option.setAttribute("aria-selected", "true");
    option.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", option.id);
  };

  const move = (step) => {
    const all = options();
    if (!all.length) return;
    const from = active();
    const index = from ? all.indexOf(from) + step : step > 0 ? 0 : all.length - 1;
    mark(all[(index + all.length) % all.length]);
  };

  const keys = {
    ArrowDown: () => move(1),
    ArrowUp: () => move(-1),
    Escape: close,
    Enter: () => choose(active()),
  };

  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !active()) return;
    if (event.key === "Escape" && !options().length) return;
    if (!(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });

  /* Whoever edits the text no longer means the address that was chosen. */
  input.addEventListener("input", () => {
    chosen.value = "";
  });

  input.addEventListener("blur", close);
  list.addEventListener("mousedown", (event) => event.preventDefault());
  list.addEventListener("click", (event) => {
    const option = event.target.closest("[role=option]");
    if (option) choose(option);
  });

  /* The answer to the last letter may come after an option was marked: if it is still there, it
     stays marked, or the next Enter would send the form instead of choosing it. */
  let marked;
  list.addEventListener("htmx:beforeSwap", () => {
    marked = active()?.dataset.text;
  });
  list.addEventListener("htmx:afterSwap", () => {
    /* An answer that comes after the field was left or an address was chosen is not shown. */
    if (document.activeElement !== input || chosen.value) return close();
    /* Whoever has written a whole address has chosen it: a list would only cover the button. */
    const written = input.value.trim().toLowerCase();
    const whole = options().find((o) => o.dataset.id && o.dataset.text.toLowerCase() === written);
    if (whole) return choose(whole);
    input.setAttribute("aria-expanded", String(options().length > 0));
    input.removeAttribute("aria-activedescendant");
    const again = options().find((option) => option.dataset.text === marked);
    if (again) mark(again);
  });
}
