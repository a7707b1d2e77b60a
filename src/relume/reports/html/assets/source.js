"use strict";
// The keys n and p go to the next and the previous source line with a finding.
relume.source = (() => {
  const lines = [...document.querySelectorAll(".source .found")];
  let now = -1;

  function go(place) {
    if (!lines.length) return;
    lines[now]?.classList.remove("now");
    now = (place + lines.length) % lines.length;
    const line = lines[now];
    line.classList.add("now");
    line.closest("details").open = true;
    line.scrollIntoView({ block: "center" });
    line.querySelector("a")?.focus({ preventScroll: true });
  }

  for (const file of document.querySelectorAll(".source")) { // scroll to the first line with something to see
    const first = file.querySelector(".found") ?? file.querySelector(".marked");
    if (first) file.scrollTop = first.offsetTop - file.clientHeight / 3;
  }

  addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest("input, select, textarea")) return;
    if (event.key === "n") go(now + 1);
    if (event.key === "p") go(now < 0 ? -1 : now - 1);
  });
  return { go };
})();
