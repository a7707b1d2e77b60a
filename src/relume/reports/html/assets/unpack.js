"use strict";
// A browser that cannot decompress Vega keeps the pictures, which show the same.
(async () => {
  const script = document.createElement("script");
  script.textContent = await relume.unpacked("vega");
  document.head.append(script);
  const visible = (figure) => figure.checkVisibility();
  await Promise.all([...document.querySelectorAll("figure.chart")].filter(visible).map(relume.charts.mount));
  for (const site of document.querySelectorAll("details.site")) {
    site.addEventListener("toggle", () => site.querySelectorAll("figure.chart").forEach(relume.charts.mount));
  }
  document.documentElement.classList.add("live");
})();
