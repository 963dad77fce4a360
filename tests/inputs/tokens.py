"""The token ids of many sentences beside the reference tokenizer's."""

import random
import sys

import torch
from tokenizers import Tokenizer
from torch import nn

from harness import Checks, Site, model, temporary
import dataset
import published

MANIFEST = """[preprocess.text]
tokenizer = "tokenizer.json"
max_tokens = {max_tokens}
too_long = "truncate"
pairs = {pairs}
[[inputs]]
name = "input_ids"
datatype = "INT64"
shape = [-1, -1]
pad = 0
[[inputs]]
name = "attention_mask"
datatype = "INT64"
shape = [-1, -1]
pad = 0
[[inputs]]
name = "token_type_ids"
datatype = "INT64"
shape = [-1, -1]
pad = 0
"""


class Echo(nn.Module):
    def forward(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor):
        return ids + 0, mask + 0, types + 0


def sentences():
    """Real ones, and what trips tokenizers up."""
    odd = [
        "", " ", "\n\t", "é", "e\u0301", "Ångström naïve façade", "Straße", "ﬁne ﬂow", "İstanbul", "ß", "日本語のテキストです。",
        "我喜欢自然语言处理", "한국어 문장입니다", "नमस्ते दुनिया", "مرحبا بالعالم", "שלום עולם", "Привет, мир!", "Γειά σου Κόσμε",
        "🙂", "👩‍👩‍👧‍👦 family", "🇩🇪🇫🇷", "a\u200bb", "\ufeffstart", "x\u0000y", "tab\tand\u00a0space", "[CLS] [SEP] [MASK] [PAD] [UNK]",
        "don't can't won't I'm", "e-mail: a.b+c@example.org", "https://example.org/a?b=c&d=%20#e", "1,234.56 3.14159e-10 0x1F",
        "ALL CAPS AND MiXeD", "a" * 99, "a" * 101, "a" * 5000, "word " * 3000, "中" * 2000, "🙂" * 1000, "!?" * 500, "½ ² ™ ℃ Ⅷ",
        "\u202eright to left\u202c", "ａｂｃ ＡＢＣ", "ﷺ", "𝕳𝖊𝖑𝖑𝖔", "a" + "\u0301" * 50, "\ud7ff\ue000", "\U0010ffff",
    ]
    train, held_out = dataset.sentences()
    chance = random.Random(5)
    real = [text for text, _ in chance.sample(train + held_out, 400)]
    alphabet = "abc ABC é日🙂\u0301\u200d'-.,!\n"
    made = ["".join(chance.choices(alphabet, k=chance.randrange(1, 200))) for _ in range(300)]
    return odd + real + made


def expected(reference, rows):
    encoded = reference.encode_batch(rows)
    return [[row.ids for row in encoded], [row.attention_mask for row in encoded], [row.type_ids for row in encoded]]


def main():
    checks = Checks()
    tokenizer = published.minilm_tokenizer()
    reference = Tokenizer.from_str(tokenizer.decode())
    reference.enable_padding()
    texts = sentences()
    with temporary() as folder:
        import pathlib

        root = pathlib.Path(folder)
        for name, max_tokens, pairs in (("long", 256, "false"), ("short", 16, "false"), ("pairs", 64, "true")):
            manifest = MANIFEST.format(max_tokens=max_tokens, pairs=pairs)
            model(root / name, Echo(), manifest, tokenizer__json=tokenizer)
        site = Site(sys.argv[1], root)
        for name, max_tokens in (("long", 256), ("short", 16)):
            reference.enable_truncation(max_tokens)
            wrong = 0
            for start in range(0, len(texts), 50):
                rows = texts[start : start + 50]
                answer = site.predict(name, {"inputs": {"text": rows}})["outputs"]
                wrong += list(answer.values()) != expected(reference, rows)
            alone = sum(
                list(site.predict(name, {"inputs": {"text": [text]}})["outputs"].values()) != expected(reference, [text])
                for text in texts[:60]
            )
            checks.hold(f"{len(texts)} texts of at most {max_tokens} tokens have the reference's ids, masks and types", wrong == 0)
            checks.hold("the first 60 of them also alone", alone == 0)
        reference.enable_truncation(64)
        pairs = list(zip(texts, reversed(texts)))
        wrong = 0
        for start in range(0, len(pairs), 50):
            rows = pairs[start : start + 50]
            body = {"inputs": {"text": [one for one, _ in rows], "text_pair": [other for _, other in rows]}}
            wrong += list(site.predict("pairs", body)["outputs"].values()) != expected(reference, rows)
        checks.hold(f"{len(pairs)} pairs of at most 64 tokens too", wrong == 0)
        site.server.stop()
    checks.end()


if __name__ == "__main__":
    main()
