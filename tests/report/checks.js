// What a page must not do at any width and in any scheme, as lists of what is wrong; the page's tests ask for them.
(() => {
  const name = (element) => {
    const id = element.id ? "#" + element.id : "", kind = element.getAttribute && element.getAttribute("class");
    return `${element.tagName.toLowerCase()}${id}${kind ? "." + kind : ""} “${(element.textContent || "").trim().slice(0, 40)}”`;
  };
  const shown = (element) => element.checkVisibility({ visibilityProperty: true }) && !element.closest(".unseen");
  const all = (selector) => [...document.querySelectorAll(selector)].filter(shown);
  const within = () => document.documentElement.clientWidth;

  const overflows = () => {
    const wrong = [];
    if (document.documentElement.scrollWidth > within()) wrong.push(`the page is ${document.documentElement.scrollWidth} wide`);
    for (const element of all("body *")) {
      if (element.closest("svg")) continue;
      const style = getComputedStyle(element), inner = element.closest(".scroll");
      if (element.scrollWidth > element.clientWidth + 1 && style.display !== "inline" && element.clientWidth) {
        const sign = element.previousElementSibling;
        const told = element.matches(".scroll") && sign && sign.matches(".sign") && shown(sign) && element.tabIndex === 0;
        if (style.overflowX !== "visible" && !told && !element.matches("input, select")) wrong.push("cut off: " + name(element));
      }
      if (!inner && element.getBoundingClientRect().right > within() + 1) wrong.push("outside: " + name(element));
    }
    for (const text of all("svg text")) {
      const own = text.getBoundingClientRect(), paper = text.ownerSVGElement.getBoundingClientRect();
      if (own.width && (own.right > paper.right + 2 || own.left < paper.left - 2)) wrong.push("cut off in a chart: " + name(text));
    }
    return wrong;
  };

  const parts = (color) => (color.match(/[\d.]+/g) || []).map(Number);
  const luminance = ([red, green, blue]) => {
    const [r, g, b] = [red, green, blue].map((part) => (part / 255 <= 0.03928 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const [r, g, b, a = 1] = parts(getComputedStyle(at).backgroundColor);
      if (a > 0.99) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const contrasts = () => {
    const wrong = new Set(), walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const element = walker.currentNode.parentElement;
      if (!walker.currentNode.textContent.trim() || !shown(element) || element.closest("script, style, noscript, option")) continue;
      const style = getComputedStyle(element), svg = element.closest("svg");
      if (svg && (style.stroke !== "none" || style.fill === "none" || style.fillOpacity === "0" || element.getAttribute("opacity") === "0")) continue;
      const own = luminance(parts(svg ? style.fill : style.color)), paper = luminance(behind(element));
      const ratio = (Math.max(own, paper) + 0.05) / (Math.min(own, paper) + 0.05);
      const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
      if (ratio < (large ? 3 : 4.5)) wrong.add(`${ratio.toFixed(2)}: ${name(element)}`);
    }
    return [...wrong];
  };

  const tip = document.getElementById("tip");
  const outside = (what) => {
    const box = tip.getBoundingClientRect();
    if (tip.hidden || !tip.textContent.trim()) return [`no tooltip: ${what}`];
    const fits = box.left >= 0 && box.top >= 0 && box.right <= within() && box.bottom <= window.innerHeight;
    return fits && tip.scrollWidth <= tip.clientWidth + 1 ? [] : [`outside: ${what} ${JSON.stringify(box)}`];
  };
  const pointed = (mark) => {
    mark.scrollIntoView({ block: "center" });
    const place = mark.getBoundingClientRect();
    const at = { clientX: place.x + place.width / 2, clientY: place.y + place.height / 2, bubbles: true };
    for (const kind of ["pointerover", "pointermove", "mouseover", "mousemove"]) mark.dispatchEvent(new PointerEvent(kind, at));
  };
  const tips = async () => {
    const wrong = [];
    for (const word of all("a.word")) {
      word.scrollIntoView({ block: "end" });
      await new Promise(requestAnimationFrame); // scrolling hides what is shown
      word.focus({ preventScroll: true });
      wrong.push(...outside(word.textContent));
      word.blur();
    }
    for (const chart of all(".chart")) {
      const groups = [...chart.querySelectorAll(".mark-rect.role-mark, .mark-symbol.role-mark")].map((group) => [...group.querySelectorAll("path")]);
      const marks = groups.reduce((most, group) => (group.length >= most.length ? group : most), []);
      if (!marks.length) wrong.push("nothing to point at: " + chart.getAttribute("aria-label"));
      for (const mark of marks.length ? [marks[0], marks[marks.length - 1]] : []) {
        mark.scrollIntoView({ block: "center" });
        await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
        pointed(mark);
        wrong.push(...outside(chart.getAttribute("aria-label")));
      }
    }
    tip.hidden = true;
    return wrong;
  };

  const unnamed = () => {
    const wrong = [], text = (id) => (document.getElementById(id) || { textContent: "" }).textContent.trim();
    const labelled = (one) => one.getAttribute("aria-label") || text(one.getAttribute("aria-labelledby")) || (one.labels && one.labels.length);
    for (const one of all("section, nav, [role=img], [role=region], select, input")) if (!labelled(one)) wrong.push("no name: " + name(one));
    for (const one of all("table")) {
      if (!one.caption || !one.caption.textContent.trim()) wrong.push("no caption: " + name(one));
      for (const head of one.querySelectorAll("thead th")) if (head.scope !== "col") wrong.push("no scope: " + name(head));
    }
    for (const one of all("a, summary, button")) if (!one.textContent.trim() && !one.title && !labelled(one)) wrong.push("empty: " + name(one));
    for (const one of document.querySelectorAll("[aria-describedby], a[href^='#']:not(.vega-actions a)")) {
      const goal = one.getAttribute("aria-describedby") || one.hash.slice(1);
      if (!document.getElementById(goal)) wrong.push("leads nowhere: " + name(one));
    }
    const ids = [...document.querySelectorAll("body [id]")].filter((one) => !one.closest("svg")).map((one) => one.id);
    wrong.push(...ids.filter((id, at) => ids.indexOf(id) !== at).map((id) => "twice: " + id));
    const heads = all("h1, h2, h3").map((one) => Number(one.tagName[1]));
    if (heads[0] !== 1 || heads.filter((level) => level === 1).length !== 1) wrong.push("headings: " + heads);
    if (document.querySelectorAll("main").length !== 1 || document.documentElement.lang !== "en") wrong.push("no main, or no language");
    return wrong;
  };

  return { overflows, contrasts, tips, unnamed };
})()
