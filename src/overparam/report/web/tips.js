// One tooltip for charts and words: inside the window, for pointer, finger and keyboard.

const tip = document.getElementById("tip");

const showTip = (content, x, y) => {
  tip.replaceChildren(...content);
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect(), edge = 8, room = document.documentElement.clientWidth;
  const below = y + 18, above = y - height - 12;
  tip.style.left = Math.max(edge, Math.min(x + 12, room - width - edge)) + "px";
  tip.style.top = Math.max(edge, below + height + edge <= window.innerHeight ? below : above) + "px";
};
const hideTip = () => { tip.hidden = true; };
const made = (tag, text, className) => {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
};

// What Vega calls where a chart is pointed at; `value` is an object of titles and texts.
const chartTip = (handler, event, item, value) => {
  if (value === null || value === undefined || value === "") return hideTip();
  const list = made("dl");
  for (const [title, text] of Object.entries(value.tip || value)) list.append(made("dt", title), made("dd", text));
  showTip([list], event.clientX, event.clientY);
  if (event.detail === "keyboard") {
    document.getElementById("spoken").textContent = Object.entries(value.tip || value).map(([title, text]) => `${title}: ${text}`).join(", ");
  }
};

// The sentence of a word, from the glossary below.
let leaving = 0;
const wordTip = (word) => {
  clearTimeout(leaving);
  const box = word.getBoundingClientRect(), said = document.getElementById(word.hash.slice(1));
  showTip([made("p", said.textContent)], box.left - 12, box.bottom - 12);
};
const later = () => { clearTimeout(leaving); leaving = setTimeout(hideTip, 150); };
for (const [kind, act] of [["mouseover", wordTip], ["focusin", wordTip], ["mouseout", later], ["focusout", later]]) {
  document.addEventListener(kind, (event) => {
    const word = event.target.closest && event.target.closest("a.word");
    if (word) act(word);
  });
}
tip.addEventListener("mouseenter", () => clearTimeout(leaving));
tip.addEventListener("mouseleave", later);
document.addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
window.addEventListener("scroll", hideTip, { passive: true });

// Tables that are wider than the window say so, and scroll by keyboard too.
const signs = () => document.querySelectorAll(".scroll").forEach((box) => {
  const wide = box.scrollWidth > box.clientWidth + 1;
  box.previousElementSibling.hidden = !wide;
  if (wide) box.tabIndex = 0; else box.removeAttribute("tabindex");
});
const watcher = new ResizeObserver(signs);
const watch = (root) => root.querySelectorAll(".scroll").forEach((box) => [box, ...box.children].forEach((one) => watcher.observe(one)));
watch(document);
