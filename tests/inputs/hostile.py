"""Files and texts that mean no good: each is refused by name, in bounded memory, and the server serves on."""

import io
import pathlib
import random
import struct
import sys
import time
import zlib

import torch
from PIL import Image
from torch import nn

from harness import Checks, Site, base64_of, model, photographs, temporary
import published
from tokens import MANIFEST as TEXT
from tokens import Echo as Ids
from pixels import Plus, saved

IMAGE = """[preprocess.image]
resize = 64
crop = 64
[[inputs]]
name = "pixels"
datatype = "FP32"
shape = [-1, 3, 64, 64]
"""
# What the server may hold beyond what it held before: the most pixels of a request, decoded, and as much again.
ALLOWED = 400 << 20


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, *chunks, depth=8, colour=2, interlace=0):
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IEND", b"")


def files(photograph):
    """What is sent, and what it is."""
    good = saved(Image.open(io.BytesIO(photograph)).convert("RGB").resize((320, 240)), "PNG")
    jpeg = saved(Image.open(io.BytesIO(photograph)).convert("RGB").resize((320, 240)), "JPEG", progressive=True)
    webp = saved(Image.open(io.BytesIO(photograph)).convert("RGB").resize((320, 240)), "WEBP")
    yield "nothing", b""
    yield "a zero", b"\0"
    yield "text", b"hello"
    yield "HTML by the name of an image", b"<!doctype html><p>404"
    yield "a GIF file", saved(Image.new("P", (4, 4)), "GIF")
    yield "a BMP file", saved(Image.new("RGB", (4, 4)), "BMP")
    yield "a TIFF file", saved(Image.new("RGB", (4, 4)), "TIFF")
    yield "a WAV file", b"RIFF\x24\0\0\0WAVEfmt " + b"\0" * 32
    for name, content in (("PNG", good), ("JPEG", jpeg), ("WebP", webp)):
        for share in (0.001, 0.01, 0.1, 0.5, 0.9, 0.999):
            yield f"{name}, {share:.1%} of it", content[: max(13, int(len(content) * share))]
    yield "a PNG of 60,000 by 60,000 pixels without data", png(60_000, 60_000)
    yield "a PNG of 2^31 - 1 by 2^31 - 1 pixels", png(2**31 - 1, 2**31 - 1)
    yield "a PNG of no pixels", png(0, 0)
    rows = zlib.compress(b"\0" * (1 + 3 * 30_000) * 30_000, 9)
    yield "a PNG bomb of 900 million pixels", png(30_000, 30_000, chunk(b"IDAT", rows))
    yield "a PNG whose rows are too short", png(64, 64, chunk(b"IDAT", zlib.compress(b"\0" * 100)))
    yield "a PNG whose sum is wrong", good[:60] + bytes([good[60] ^ 1]) + good[61:]
    yield "a JPEG of 65,500 by 65,500 pixels", b"\xff\xd8\xff\xc0\0\x11\x08\xff\xdc\xff\xdc\x03\x01\x11\0\x02\x11\0\x03\x11\0\xff\xd9"
    scans = jpeg.rindex(b"\xff\xda")
    yield "a JPEG of a thousand scans", jpeg[:-2] + jpeg[scans:-2] * 1000 + b"\xff\xd9"
    yield "a thin image that grows by resizing", saved(Image.new("RGB", (1, 20_000)), "PNG")
    yield "base64 of nothing that is an image", b"AAAA" * 1000
    yield "a data URL of text", b"data:text/plain;base64,aGVsbG8="


def changed(content, chance):
    at = bytearray(content)
    for _ in range(chance.randrange(1, 8)):
        at[chance.randrange(len(at))] = chance.randrange(256)
    return bytes(at[: chance.randrange(1, len(at) + 1)] if chance.random() < 0.2 else at)


def main():
    checks = Checks()
    tokenizer = published.minilm_tokenizer()
    photograph = photographs()[0][1]
    with temporary() as folder:
        root = pathlib.Path(folder)
        model(root / "image", Plus(), IMAGE)
        model(root / "text", Ids(), TEXT.format(max_tokens=256, pairs="false"), tokenizer__json=tokenizer)
        site = Site(sys.argv[1], root)
        small = Image.open(io.BytesIO(photograph)).convert("RGB").resize((160, 120))
        good = saved(small, "PNG")
        site.predict("image", good, "image/png")
        before = peak = site.server.memory()
        refused, slowest = 0, 0.0
        for what, content in files(photograph):
            begun = time.monotonic()
            status, answer = site.ask("/predict/image", content, "image/jpeg")
            slowest = max(slowest, time.monotonic() - begun)
            peak = max(peak, site.server.memory())
            refused += 1
            if not (400 <= status < 500 and answer["error"]):
                checks.hold(f"{what}: {status} {str(answer)[:200]}, expected 4xx", False)
            status, answer = site.ask("/predict/image", {"image": base64_of(content)})
            if not (400 <= status < 500 and answer["error"]):
                checks.hold(f"{what} in base64: {status} {str(answer)[:200]}, expected 4xx", False)
        checks.hold(f"{refused} files are refused with 4xx, the slowest in {slowest:.2f} s", True)
        text = zlib.compress(b"\0" * (1 << 30), 9)
        packed = png(4, 4, chunk(b"zTXt", b"a\0\0" + text), chunk(b"IDAT", zlib.compress(b"\0" * 52)))
        status, answer = site.ask("/predict/image", packed, "image/png")
        peak = max(peak, site.server.memory())
        checks.hold(f"a PNG with a text of a gigabyte in {len(packed)} bytes: {status}, memory {peak >> 20} MiB", status in (200, 400))
        chance, answers = random.Random(1), {}
        sources = [saved(small, "PNG"), saved(small, "JPEG"), saved(small, "JPEG", progressive=True), saved(small, "WEBP"), saved(small, "WEBP", lossless=True), saved(small.quantize(16), "PNG")]
        for _ in range(3000):
            status, answer = site.ask("/predict/image", changed(chance.choice(sources), chance), "image/png")
            answers[status] = answers.get(status, 0) + 1
            peak = max(peak, site.server.memory())
        checks.hold(f"3,000 changed files: {answers}", set(answers) <= {200, 400})
        checks.hold(f"memory {before >> 20} MiB before, at most {peak >> 20} MiB", peak < before + ALLOWED)
        for what, text, expected in (
            ("a word of ten million bytes", "a" * 10_000_000, 400),
            ("a word of the most bytes allowed", "a" * 262_144, 200),
            ("the most bytes of spaces", " " * 262_144, 200),
            ("the most bytes of marks", "\u0301" * 131_072, 200),
            ("the most bytes of brackets", "[" * 262_144, 200),
            ("a thousand special tokens", "[CLS]" * 1000, 200),
            ("a zero byte", "a\0b", 200),
        ):
            begun = time.monotonic()
            status, answer = site.ask("/predict/text", {"text": text})
            took = time.monotonic() - begun
            peak = max(peak, site.server.memory())
            checks.hold(f"{what}: {status} in {took:.2f} s", status == expected)
        for what, content in (("half a character", b"caf\xc3"), ("bytes of no text", bytes(range(128, 256)))):
            status, answer = site.ask("/predict/text", content, "application/octet-stream")
            checks.hold(f"{what}: {status} {answer['error']}", status == 400)
        status, answer = site.ask("/predict/text", {"texts": ["a " * 100_000] * 128})
        checks.hold(f"128 texts of 200,000 bytes: {status}", status in (200, 413))
        checks.hold(f"memory at most {peak >> 20} MiB", peak < before + ALLOWED)
        checks.hold("the server lives and predicts", site.server.is_alive() and bool(site.predict("image", good, "image/png")))
        site.server.stop()
    checks.end()


if __name__ == "__main__":
    main()
