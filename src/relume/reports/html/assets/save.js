"use strict";
// Saves the data of a study as a file. The browser makes it; no server is asked.
document.getElementById("save")?.addEventListener("click", async () => {
  const plain = document.getElementById("data");
  const text = plain ? JSON.stringify(JSON.parse(plain.textContent), null, 1) : await relume.unpacked("packed-data");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = "study.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});
