"use strict";
// What a person saw in the pictures, saved as a small JSON file. Nothing is sent or kept here.
(() => {
  const save = (name, text) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  for (const form of document.querySelectorAll("[data-rating]")) {
    const field = (name) => form.querySelector(`[data-field="${name}"]`);
    const answer = () => {
      const grade = form.querySelector("input[data-grade]:checked");
      const artefacts = Array.from(form.querySelectorAll("input[data-artefact]:checked"), (box) => box.value);
      return {
        ...JSON.parse(form.dataset.rating),
        rating: grade ? Number(grade.value) : null,
        rating_label: grade ? grade.dataset.grade : null,
        mask: field("mask").value,
        registration: field("registration").value,
        artefacts,
        comment: field("comment").value.trim(),
        rater: field("rater").value.trim(),
        rated_at: new Date().toISOString().replace(/\.\d+Z$/, "Z"),
      };
    };
    const button = form.querySelector("[data-save]");
    const said = form.querySelector("[data-said]");
    button.addEventListener("click", () => {
      const rating = answer();
      if (rating.rating === null) {
        said.textContent = "Choose one of the four grades first.";
        form.querySelector("input[data-grade]").focus();
        return;
      }
      save(form.dataset.file, `${JSON.stringify(rating, null, 2)}\n`);
      said.textContent = `Saved as ${form.dataset.file} where your browser keeps downloads.`;
    });
  }
})();
