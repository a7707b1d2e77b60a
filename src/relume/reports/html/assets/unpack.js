"use strict";
// Unpacks Vega and draws the charts. A browser that cannot decompress it keeps the pictures, which show the same.
(async () => {
  const packed = Uint8Array.from(atob(document.getElementById("vega").textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
  const visible = (figure) => figure.checkVisibility();
  await Promise.all([...document.querySelectorAll("figure.chart")].filter(visible).map(relume.charts.mount));
  for (const site of document.querySelectorAll("details.site")) {
    site.addEventListener("toggle", () => site.querySelectorAll("figure.chart").forEach(relume.charts.mount));
  }
  document.documentElement.dataset.charts = "drawn"; // tests and screenshots wait for it
})();
