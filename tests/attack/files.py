"""Changed model files: a server that reloads them must not die, and must serve no answer that the file does not explain.

    files.py PROGRAM [COUNT [SEED [SECONDS]]]

COUNT changes are made to each of the example models and to one whose code does more. Each is put in place of the model and
loaded by order. A change that no checksum covers up (bits, lengths, doubled records, headers) must be refused or change no
answer; one whose checksums were repaired (weights, pickles, code, records put for others) is another model, and may answer
otherwise. Stops after SECONDS in all and says how far it came. Exit status 1: the server died, or served what it must not.

Nothing but the standard library.
"""

import collections
import io
import json
import pathlib
import random
import shutil
import struct
import sys
import tempfile
import time
import zipfile
import zlib

import common

MODELS = [common.EXAMPLES / "digits", common.EXAMPLES / "breast_cancer", common.FIXTURES / "attention"]
# Records that are neither weights nor pickles are few; most changes go where they matter.
ODD_BYTES = [0, 1, 0x7F, 0x80, 0xFF]
ODD_NUMBERS = [0, 1, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


# Changes of the whole file. No checksum covers them up.


def flip(content, chance):
    content = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 8])):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return bytes(content)


def truncate(content, chance):
    return content[: chance.randrange(len(content))]


def double(content, chance):
    """A record once more, with other bytes, before or behind the first."""
    records = read(content)
    name, data = chance.choice(records)
    other = (chance.choice([name, name.upper(), name.replace("data", "DATA")]), flip(data or b"\0", chance))
    records.insert(chance.choice([0, records.index((name, data)), len(records)]), other)
    return written(records)


def edit_header(content, chance):
    """Numbers of the directory or of a record's own header."""
    content = bytearray(content)
    signature = chance.choice([b"PK\x01\x02", b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"])
    places = [at for at in range(len(content) - 50) if content[at : at + 4] == signature]
    if not places:
        return flip(bytes(content), chance)
    at = chance.choice(places) + chance.randrange(4, 46)
    if chance.random() < 0.5:
        content[at] = chance.choice(ODD_BYTES)
    else:
        content[at : at + 4] = struct.pack("<I", chance.choice(ODD_NUMBERS))
    return bytes(content)


# Changes whose checksums are repaired: what comes out is another model.


def swap(content, chance):
    records = read(content)
    first, second = chance.randrange(len(records)), chance.randrange(len(records))
    (name, data), (other_name, other) = records[first], records[second]
    records[first], records[second] = (name, other), (other_name, data)
    return written(records)


def change_record(content, chance, wanted, change):
    records = read(content)
    places = [place for place, (name, data) in enumerate(records) if data and wanted(name)]
    if not places:
        return flip(content, chance)
    place = chance.choice(places)
    records[place] = (records[place][0], change(records[place][1], chance))
    return written(records)


def edit_bytes(data, chance):
    data = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 4])):
        if not data:
            break
        at = chance.randrange(len(data))
        way = chance.random()
        if way < 0.4:
            data[at] ^= 1 << chance.randrange(8)
        elif way < 0.7:
            data[at] = chance.choice(ODD_BYTES)
        elif way < 0.85:
            data[at:at] = bytes([chance.randrange(256)])
        else:
            del data[at : at + chance.choice([1, 2, 8])]
    return bytes(data)


def edit_pickle(content, chance):
    return change_record(content, chance, lambda name: name.endswith(".pkl"), edit_bytes)


def edit_code(content, chance):
    return change_record(content, chance, lambda name: name.endswith(".py"), edit_bytes)


def edit_weights(content, chance):
    return change_record(content, chance, lambda name: "/data/" in name, flip)


def shorten(content, chance):
    """A record that is shorter or longer than the pickle says."""

    def change(data, chance):
        return data[: chance.randrange(len(data))] if chance.random() < 0.8 else data + b"\0" * 64

    return change_record(content, chance, lambda name: "/data/" in name, change)


DAMAGES = [flip, flip, truncate, double, edit_header, edit_header]
CHANGES = [swap, edit_pickle, edit_pickle, edit_pickle, edit_code, edit_weights, shorten, shorten]


def read(content):
    archive = zipfile.ZipFile(io.BytesIO(content))
    return [(entry.filename, archive.read(entry)) for entry in archive.infolist()]


def written(records):
    """An archive of these records, names and all, as they are: zipfile would warn of doubled ones."""
    body, directory = io.BytesIO(), io.BytesIO()
    for name, data in records:
        name = name.encode()
        sizes = struct.pack("<III", zlib.crc32(data), len(data), len(data))
        at = body.tell()
        fixed = b"\x14\0\0\0\0\0\0\0\0\0" + sizes + struct.pack("<HH", len(name), 0)
        body.write(b"PK\x03\x04" + fixed + name + data)
        directory.write(b"PK\x01\x02\x14\0" + fixed + b"\0" * 10 + struct.pack("<I", at) + name)
    counts = struct.pack("<HH", len(records), len(records))
    end = b"PK\x05\x06\0\0\0\0" + counts + struct.pack("<IIH", len(directory.getvalue()), body.tell(), 0)
    return body.getvalue() + directory.getvalue() + end


def prediction(server, name, sample):
    """What a model answers, without what differs from request to request; None when it does not serve."""
    answer = server.ask("POST", f"/predict/{name}", sample)
    if answer[0] != 200:
        return None
    body = json.loads(answer[1])
    return json.dumps({key: body[key] for key in body if key not in ("request_id", "version")}, sort_keys=True)


def attack(server, folder, model, count, chance, ends_at):
    """Outcomes by name, and what went wrong."""
    name = model.name
    place = folder / "models" / name / "1/model.pt"
    original = (model / "1/model.pt").read_bytes()
    sample = (model / "sample.json").read_bytes()
    expected = prediction(server, name, sample)
    assert expected is not None, f"{name} must serve before it is changed"
    outcomes, wrong = collections.Counter(), []
    for number in range(count):
        if time.monotonic() > ends_at:
            break
        change = chance.choice(DAMAGES + CHANGES)
        changed = change(original, chance)
        if changed == original:
            continue
        draft = place.with_suffix(".draft")
        draft.write_bytes(changed)
        # The version is let go first, or the original would go on answering in its place.
        server.ask("POST", f"/manage/models/{name}/unload", on=server.management)
        draft.rename(place)
        loaded = server.ask("POST", f"/manage/models/{name}/reload", on=server.management)
        if loaded[0] == 0 or not server.is_alive():
            wrong.append((f"{name}: the server died of change {number} ({change.__name__})", changed))
            break
        found = prediction(server, name, sample) if loaded[0] == 200 else None
        if not server.is_alive():
            wrong.append((f"{name}: the server died of a request after change {number} ({change.__name__})", changed))
            break
        kind = "damage" if change in DAMAGES else "change"
        if loaded[0] != 200:
            outcomes[kind, "refused"] += 1
        elif found == expected:
            outcomes[kind, "the same answer"] += 1
        else:
            outcomes[kind, "another answer" if found else "no answer"] += 1
            if kind == "damage" and found:
                wrong.append((f"{name}: change {number} ({change.__name__}) answers {found[:200]}", changed))
    return outcomes, wrong


def main():
    program = sys.argv[1]
    count, seed, seconds = (int(it) for it in [*sys.argv[2:5], *["2000", "1", "600"][len(sys.argv) - 2 :]])
    ends_at = time.monotonic() + seconds
    failures = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        for model in MODELS:
            shutil.copytree(model, folder / "models" / model.name)
        server = common.Server(program, "optimize=off", "trial.timeout=20s", models=folder / "models")
        try:
            server.ready()
            for left, model in zip(range(len(MODELS), 0, -1), MODELS):
                now = time.monotonic()
                # Each model gets its part of the time.
                until = now + max(ends_at - now, 0) / left
                outcomes, wrong = attack(server, folder, model, count, random.Random(seed), until)
                figures = ", ".join(f"{kind} {what} {n}" for (kind, what), n in sorted(outcomes.items()))
                print(f"{model.name}: {sum(outcomes.values())} of {count} changes: {figures}", flush=True)
                failures += wrong
                if server.process.poll() is not None:
                    print("its last words:\n" + server.last_words())
                    break
        finally:
            server.stop()
    for number, (text, content) in enumerate(failures):
        kept = pathlib.Path(tempfile.gettempdir()) / f"sconce-changed-{number}.pt"
        kept.write_bytes(content)
        print(f"{text}; the file is {kept}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
