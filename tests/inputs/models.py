"""The models of `make models` over HTTP: how often they are right, and how far they are from the reference pipeline."""

import json
import pathlib
import shutil
import subprocess
import sys
import time

import numpy as np
import torch
from tokenizers import Tokenizer

from harness import ROOT, Checks, Site, photographs, temporary
import published
from tokens import sentences


def reference(texts):
    """Vectors by the reference tokenizer and PyTorch, each text alone."""
    tokenizer = Tokenizer.from_str(published.minilm_tokenizer().decode())
    tokenizer.enable_truncation(256)
    tokenizer.no_padding()
    module = published.minilm()
    vectors = []
    with torch.no_grad():
        for text in texts:
            row = tokenizer.encode(text)
            vectors.append(module(torch.tensor([row.ids]), torch.tensor([row.attention_mask]))[0].numpy())
    return np.stack(vectors)


def main():
    checks = Checks()
    subprocess.run([sys.executable, ROOT / "models/scripts/build.py"], check=True)
    names = ("minilm", "sentiment", "efficientnet_lite0")
    with temporary() as folder:
        root = pathlib.Path(folder)
        for name in names:
            shutil.copytree(ROOT / "models" / name, root / name)
        site = Site(sys.argv[1], root)
        labels = (root / "efficientnet_lite0/labels.txt").read_text().splitlines()
        shots = photographs()
        right = sum(site.predict("efficientnet_lite0", content, "image/jpeg")["label"] == labels[label] for label, content in shots)
        checks.hold(f"top-1 on the photographs as they are: {right} of {len(shots)}, at least 17 wanted", right >= 17)
        texts = sentences()[:240]
        expected = reference(texts)
        got = []
        for start in range(0, len(texts), 16):
            got += site.predict("minilm", {"texts": texts[start : start + 16]})["predictions"]
        far = float(np.abs(np.float32(got) - expected).max())
        checks.hold(f"{len(texts)} sentences, 16 a request: vectors at most {far:.1e} from the reference's", far <= 1e-5)
        alone = [site.predict("minilm", {"text": text})["prediction"] for text in texts[:100]]
        far = float(np.abs(np.float32(alone) - np.float32(got[:100])).max())
        checks.hold(f"100 of them one by one: at most {far:.1e} from what they are beside others", far <= 1e-5)
        import concurrent.futures

        with concurrent.futures.ThreadPoolExecutor(32) as pool:
            mixed = list(pool.map(lambda text: site.predict("minilm", {"text": text})["prediction"], texts))
        far = float(np.abs(np.float32(mixed) - np.float32(got)).max())
        checks.hold(f"all of them from 32 clients at once: at most {far:.1e} from that", far <= 1e-5)
        status, answer = site.ask("/v1/embeddings", {"model": "minilm", "input": texts[:16]})
        vectors = np.float32([row["embedding"] for row in answer["data"]])
        far = float(np.abs(vectors - expected[:16]).max())
        checks.hold(f"/v1/embeddings: at most {far:.1e}, usage {answer['usage']}", status == 200 and far <= 1e-5)
        rows = [json.loads(line) for line in (root / "sentiment/held_out.jsonl").read_text().splitlines()]
        answers = [site.predict("sentiment", {"text": row["text"]})["label"] for row in rows]
        share = sum(got == row["label"] for got, row in zip(answers, rows)) / len(rows)
        checks.hold(f"sentiment: {share:.3f} of {len(rows)} held-out sentences, at least 0.90 wanted", share >= 0.9)
        site.server.stop()
    checks.end()


if __name__ == "__main__":
    main()
