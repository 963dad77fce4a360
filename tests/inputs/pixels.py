"""The pixels of photographs in many formats, modes, orientations and sizes beside Pillow's."""

import io
import pathlib
import sys

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import nn

from harness import Checks, Site, base64_of, model, photographs, temporary

FILTERS = {
    "nearest": Image.Resampling.NEAREST, "box": Image.Resampling.BOX, "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING, "bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS,
}
# How far a value of 0 to 255 may be from Pillow's, at most and on average. JPEG and lossy WebP are decoded by other libraries,
# whose arithmetic of colours differs.
LOSSLESS, LOSSY = (0, 0.0), (8, 0.8)

MANIFEST = """[preprocess.image]
resize = {resize}
filter = "{filter}"
{more}
[[inputs]]
name = "pixels"
datatype = "UINT8"
shape = {shape}
"""


class Echo(nn.Module):
    def forward(self, pixels: torch.Tensor):
        return torch.bitwise_or(pixels, 0)


class Plus(nn.Module):
    def forward(self, pixels: torch.Tensor):
        return pixels + 0.0


def pillow(content, size, resample, crop=None, mode="RGB"):
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    if image.mode.startswith("I;16"):
        # Pillow makes white of all that is above 255.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    image = image.convert(mode)
    if isinstance(size, int):
        width, height = image.size
        short, long = min(width, height), max(width, height)
        other = int(size * long / short)
        to = (size, other) if width <= height else (other, size)
    else:
        to = (size[1], size[0])
    if to != image.size:
        image = image.resize(to, resample)
    if crop:
        top, left = (int(round((have - want) / 2.0)) for have, want in zip((image.height, image.width), crop))
        image = image.crop((left, top, left + crop[1], top + crop[0]))
    return np.asarray(image)


def saved(image, format, **options):
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def variants(photograph):
    """One photograph in every format and mode, with whether its decoding is lossless."""
    image = Image.open(io.BytesIO(photograph)).convert("RGB").resize((301, 223))
    alpha = image.copy()
    alpha.putalpha(Image.linear_gradient("L").resize(image.size))
    gray16 = Image.fromarray((np.asarray(image.convert("L")).astype(np.uint16) * 257 + 11))
    yield "PNG", saved(image, "PNG"), True
    yield "PNG with alpha", saved(alpha, "PNG"), True
    yield "PNG of a palette", saved(image.quantize(64), "PNG"), True
    yield "PNG of a palette with one colour transparent", saved(image.quantize(64), "PNG", transparency=3), True
    yield "PNG of 4 bits", saved(image.quantize(8), "PNG", bits=4), True
    yield "PNG of one bit", saved(image.convert("1"), "PNG"), True
    yield "PNG in gray", saved(image.convert("L"), "PNG"), True
    yield "PNG in gray with alpha", saved(alpha.convert("LA"), "PNG"), True
    yield "PNG in gray of 16 bits", saved(gray16, "PNG"), True
    yield "JPEG", saved(image, "JPEG", quality=95), False
    yield "JPEG, 4:2:0", saved(image, "JPEG", quality=90, subsampling=2), False
    yield "JPEG, progressive", saved(image, "JPEG", quality=90, progressive=True), False
    yield "JPEG in gray", saved(image.convert("L"), "JPEG", quality=95), False
    yield "JPEG, CMYK", saved(image.convert("CMYK"), "JPEG", quality=95), False
    yield "WebP", saved(image, "WEBP", quality=90), False
    yield "WebP, lossless", saved(image, "WEBP", lossless=True), True
    yield "WebP with alpha", saved(alpha, "WEBP", lossless=True, exact=True), True
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield f"JPEG, orientation {orientation}", saved(image, "JPEG", quality=95, exif=exif), False
        yield f"PNG, orientation {orientation}", saved(image, "PNG", exif=exif), True


def distance(got, expected):
    got, expected = np.asarray(got, np.int32), expected.astype(np.int32)
    if got.shape != expected.shape:
        return 999, 999.0
    difference = np.abs(got - expected)
    return int(difference.max()), float(difference.mean())


def main():
    checks = Checks()
    shots = photographs()
    with temporary() as folder:
        root = pathlib.Path(folder)
        last = "[-1, -1, -1, 3]"
        for name in FILTERS:
            model(root / name, Echo(), MANIFEST.format(resize=96, filter=name, more="crop = 80", shape="[-1, 80, 80, 3]"))
            model(root / f"{name}_up", Echo(), MANIFEST.format(resize="[400, 420]", filter=name, more="", shape="[-1, 400, 420, 3]"))
        model(root / "gray", Echo(), MANIFEST.format(resize=64, filter="bilinear", more='crop = 64\nchannels = "gray"', shape="[-1, 1, 64, 64]"))
        model(root / "same", Echo(), MANIFEST.format(resize="[223, 301]", filter="bilinear", more="", shape="[-1, 223, 301, 3]"))
        normal = MANIFEST.format(resize=256, filter="bilinear", more="crop = 224\nmean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]", shape="[-1, 3, 224, 224]")
        model(root / "normal", Plus(), normal.replace("UINT8", "FP32"))
        site = Site(sys.argv[1], root)

        def pixels(name, content):
            return site.predict(name, content, "application/octet-stream")["prediction"]

        worst = {True: (0, 0.0), False: (0, 0.0)}
        for label, content, lossless in variants(shots[0][1]):
            got = distance(pixels("bilinear", content), pillow(content, 96, Image.Resampling.BILINEAR, (80, 80)))
            worst[lossless] = tuple(map(max, worst[lossless], got))
            allowed = LOSSLESS if lossless else LOSSY
            if got[0] > allowed[0] or got[1] > allowed[1]:
                checks.hold(f"{label}: at most {got[0]} off, {got[1]:.3f} on average; allowed {allowed}", False)
        checks.hold(f"{len(list(variants(shots[0][1])))} formats, modes and orientations: lossless at most {worst[True][0]} of 255 off and {worst[True][1]:.3f} on average, JPEG and WebP {worst[False][0]} and {worst[False][1]:.3f}", True)
        for name, resample in FILTERS.items():
            far = (0, 0.0)
            for _, content in shots:
                lossless = saved(Image.open(io.BytesIO(content)).convert("RGB"), "PNG")
                far = max(far, distance(pixels(name, lossless), pillow(lossless, 96, resample, (80, 80))))
                far = max(far, distance(pixels(f"{name}_up", lossless), pillow(lossless, (400, 420), resample)))
            checks.hold(f"{name}: 20 photographs smaller and larger, at most {far[0]} of 255 off, {far[1]:.4f} on average", far[0] <= LOSSLESS[0] and far[1] <= LOSSLESS[1])
        far = (0, 0.0)
        for _, content in shots:
            lossless = saved(Image.open(io.BytesIO(content)).convert("RGB"), "PNG")
            gray = pillow(lossless, 64, Image.Resampling.BILINEAR, (64, 64), "L")[None]
            far = max(far, distance(pixels("gray", lossless), gray))
        checks.hold(f"gray: at most {far[0]} of 255 off, {far[1]:.4f} on average", far[0] <= LOSSLESS[0])
        exact = next(variants(shots[0][1]))[1]
        checks.hold("a file of the model's own size is not touched", distance(pixels("same", exact), pillow(exact, (223, 301), None)) == (0, 0.0))
        many = site.predict("bilinear", {"images": [base64_of(content) for _, content in shots[:4]]})["predictions"]
        alone = [pixels("bilinear", content) for _, content in shots[:4]]
        checks.hold("images of one request are what each is alone", many == alone)
        mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
        lossless = saved(Image.open(io.BytesIO(shots[3][1])).convert("RGB"), "PNG")
        reference = (pillow(lossless, 256, Image.Resampling.BILINEAR, (224, 224)).astype(np.float32) / np.float32(255) - mean) / std
        difference = np.abs(np.float32(pixels("normal", lossless)).transpose(1, 2, 0) - reference).max()
        checks.hold(f"normalized as torchvision does: at most {difference:.4f} off, a step of 255 is {1 / 255 / 0.224:.4f}", difference <= 1e-6)
        site.server.stop()
    checks.end()


if __name__ == "__main__":
    main()
