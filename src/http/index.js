// Sends the text or file of a form as the body of a prediction, and shows what comes back. Nothing from elsewhere.
for (const form of document.querySelectorAll("form")) {
  const [input, output] = [form.querySelector("input"), form.querySelector("output")];
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const isFile = input.type === "file";
    const body = isFile ? input.files[0] : input.value;
    if (!body) return;
    output.textContent = "…";
    const headers = { "Content-Type": isFile ? "application/octet-stream" : "application/json" };
    const content = isFile ? body : JSON.stringify({ text: body });
    let answer;
    try {
      answer = await (await fetch(form.action, { method: "POST", headers, body: content })).json();
    } catch (error) {
      output.textContent = `${error}`;
      return;
    }
    output.textContent = "";
    if (isFile) {
      const image = output.appendChild(document.createElement("img"));
      image.src = URL.createObjectURL(body);
      image.onload = () => URL.revokeObjectURL(image.src);
    }
    if (answer.top) {
      const list = output.appendChild(document.createElement("ol"));
      for (const { label, score } of answer.top) {
        const item = list.appendChild(document.createElement("li"));
        item.textContent = `${label} ${(100 * score).toFixed(1)} %`;
        item.style.setProperty("--score", Math.max(0, Math.min(1, score)));
      }
    } else {
      const text = JSON.stringify(answer.prediction ?? answer);
      const pre = output.appendChild(document.createElement("pre"));
      pre.textContent = text.length > 400 ? `${text.slice(0, 400)}…` : text;
    }
  });
}
