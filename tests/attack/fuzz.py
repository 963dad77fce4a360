"""Requests made of valid ones by changing bytes, words and numbers, over all routes, and HTTP/2 connections of changed frames.

    fuzz.py PROGRAM [REQUESTS] [SEED]

Each connection is closed for writing after its last byte, so that the server has all that it will ever get: it must answer or
close in time. No answer may be a fault of the server (500, 501 are told; 500 fails), it must live, and its memory come down."""

import json
import multiprocessing
import random
import re
import socket
import struct
import sys
import time

import common

PROCESSES = 2
# Requests of one connection, so that most of the time goes into requests and not into connecting.
EACH = 20
PATIENCE = 30
# Time without a byte after which an HTTP/2 connection has answered what it will.
QUIET = 0.05

TABULAR = {"features": [0.5] * 20}
V2 = {"inputs": [{"name": "features", "shape": [1, 20], "datatype": "FP32", "data": [0.5] * 20}]}


def seeds():
    """Valid requests of every kind: method, path, headers, body."""
    text = json.dumps
    posts = [
        ("/predict/tabular", text(TABULAR)),
        ("/predict/tabular", text({"instances": [[0.5] * 20] * 3})),
        ("/predict/tabular/versions/1", text({"inputs": {"features": [[0.5] * 20]}})),
        ("/predict/texts", text({"instances": ["one", "two"]})),
        ("/predict/integers", text({"inputs": {"small": [[1, 2, 3, 4]], "large": [[9007199254740993, -3]]}})),
        ("/predict/raises", text({"features": [-1, 2, 3, 4]})),
        ("/predict/divides", text({"features": [7, 2]})),
        ("/predict", text(TABULAR)),
        ("/v2/models/tabular/infer", text(V2)),
        ("/v1/models/tabular:predict", text({"instances": [[0.5] * 20]})),
        ("/predictions/tabular", text([0.5] * 20)),
        ("/v2/repository/index", "{}"),
    ]
    gets = ["/", "/livez", "/readyz", "/health", "/metrics", "/models", "/models/tabular", "/openapi.json", "/docs", "/v2",
            "/v2/models/tabular", "/v2/models/tabular/config", "/v2/models/tabular/stats", "/v1/models/tabular", "/ping"]
    for path, body in posts:
        yield "POST", path, [("Content-Type", "application/json")], body.encode()
    binary = struct.pack("<20f", *[0.5] * 20)
    head = text({"inputs": [{"name": "features", "shape": [1, 20], "datatype": "FP32",
                             "parameters": {"binary_data_size": len(binary)}}]}).encode()
    yield "POST", "/v2/models/tabular/infer", [("Inference-Header-Content-Length", str(len(head)))], head + binary
    yield "POST", "/predict/tabular", [("Content-Type", "application/octet-stream")], binary
    for path in gets:
        yield "GET", path, [("Accept", "*/*")], b""


WORDS = [b"-1", b"0", b"9223372036854775807", b"-9223372036854775808", b"18446744073709551616", b"1e999", b"-0.0", b"NaN", b"null",
         b"true", b"[]", b"{}", b'""', b"[[", b"\\u0000", b"\\ud800", b"\xff\xfe", b"\x00", b'"', b"\r\n", b"\n", b" ", b"\t", b"%00",
         b"%2e%2e", b"..", b"/", b"//", b"?", b"#", b":", b"chunked", b"gzip", b"deflate", b"identity", b"100-continue", b"close",
         b"A" * 300, b"[" * 200, b"0" * 400, b"1" * 400, b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n"]


def mutated(chance, data):
    """The bytes with one to a few changes."""
    data = bytearray(data)
    for _ in range(chance.choice([1, 1, 1, 2, 3, 8])):
        at = chance.randrange(len(data) + 1)
        kind = chance.randrange(7)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[at:at] = chance.choice(WORDS)
        elif kind == 2:
            del data[at:at + chance.choice([1, 2, 8, 64])]
        elif kind == 3:
            data[at:at] = data[chance.randrange(len(data) + 1):][:chance.choice([1, 4, 40])]
        elif kind == 4:
            numbers = list(re.finditer(rb"-?\d+(\.\d+)?", data))
            if numbers:
                place = chance.choice(numbers)
                data[place.start():place.end()] = chance.choice(WORDS[:13])
        elif kind == 5:
            texts = list(re.finditer(rb'"[^"]*"', data))
            if texts:
                place = chance.choice(texts)
                data[place.start():place.end()] = b'"' + chance.choice(WORDS) + b'"'
        elif at < len(data):
            data[at] = chance.randrange(256)
    return bytes(data)


def http1(chance, method, path, headers, body, is_last):
    """A request of which path or body are changed, so that the next one can follow; the head too in the last of a connection."""
    if body and chance.randrange(4):
        body = mutated(chance, body)
    elif chance.randrange(2):
        path = "/" + "".join(chr(it) if 33 <= it < 127 else f"%{it:02x}" for it in mutated(chance, path.encode())[:2000])
    lines = [f"{method} {path} HTTP/1.1", "Host: a"] + [f"{name}: {value}" for name, value in headers]
    if chance.randrange(8) == 0 and body:
        lines.append("Transfer-Encoding: chunked")
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    elif body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"
    return (mutated(chance, head) if is_last else head) + body


def literal(name, value):
    """A header as HPACK's literal without indexing and without Huffman's code (RFC 7541, 6.2.2)."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def http2(chance, requests):
    """A connection's bytes in two parts: the preface and requests, then more of them among frames of all kinds, some changed."""
    parts, stream = [common.HELLO], 1
    for number, (method, path, headers, body) in enumerate(requests):
        is_late = number * 3 > len(requests) * 2
        block = b"".join([literal(b":method", method.encode()), literal(b":scheme", b"http"), literal(b":authority", b"a"),
                          literal(b":path", path.encode())] +
                         [literal(name.lower().encode(), value.encode()) for name, value in headers])
        pieces = [common.frame(1, 0x4 | (0 if body else 1), stream, block)]
        if body:
            pieces.append(common.frame(0, 1, stream, mutated(chance, body) if chance.randrange(2) else body))
        if is_late and chance.randrange(3) == 0:
            pieces.append(common.frame(chance.choice([2, 3, 4, 5, 6, 7, 8, 9, 10, 99]), chance.choice([0, 1, 4, 8, 255]),
                                chance.choice([0, stream, stream + 2, 1, 2**31 - 1]),
                                chance.randbytes(chance.choice([0, 4, 5, 8, 8, 20]))))
        parts += [mutated(chance, it) if is_late and chance.randrange(6) == 0 else it for it in pieces]
        stream += 2
        if not is_late:
            early = len(parts)
    return b"".join(parts[:early]), b"".join(parts[early:])


def answers(data):
    """The statuses of HTTP/1.1, or how many HTTP/2 answers began."""
    if not data.startswith(b"HTTP/"):
        at, begun = 0, 0
        while at + 9 <= len(data):
            begun += data[at + 3] == 1
            at += 9 + int.from_bytes(data[at:at + 3], "big")
        return ["HTTP/2"] * begun
    return [int(it) for it in re.findall(rb"(?:^|\n|[}\]])HTTP/1\.1 (\d{3}) ", data)]


def talk(address, parts):
    """What comes back once all was sent; None if the server neither answered nor closed in time."""
    with socket.create_connection(address, timeout=PATIENCE) as connection:
        got = []

        def read(until_closed):
            try:
                while piece := connection.recv(1 << 16):
                    got.append(piece)
                return True
            except TimeoutError:
                return not until_closed
            except OSError:
                return True

        try:
            for part in parts:
                connection.sendall(part)
                if len(parts) > 1:
                    # An HTTP/2 connection that is broken or closed for writing has no streams any more: first the answers.
                    connection.settimeout(QUIET)
                    read(until_closed=False)
                    connection.settimeout(PATIENCE)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        return b"".join(got) if read(until_closed=True) else None


def work(address, count, seed, results):
    chance, valid = random.Random(seed), list(seeds())
    sent, counts, faults, hung = 0, {}, [], []
    while sent < count:
        chosen = [chance.choice(valid) for _ in range(EACH)]
        if chance.randrange(4) == 0:
            parts = http2(chance, chosen)
        else:
            parts = [b"".join(http1(chance, *it, number == EACH - 1) for number, it in enumerate(chosen))]
        answer = talk(address, parts)
        sent += EACH
        if answer is None:
            hung.append(b"".join(parts)[:4000])
            continue
        for status in answers(answer):
            counts[status] = counts.get(status, 0) + 1
        # `raises` and `divides` raise by themselves: that is a model's fault, told as such.
        if b'"code":"internal"' in answer:
            faults.append(b"".join(parts)[:4000])
    results.put((sent, counts, faults[:5], hung[:5], len(hung)))


def main(program, count=1_000_000, seed=1):
    check = common.Check()
    names = ["tabular", "texts", "integers", "raises", "divides"]
    settings = ["default_model=tabular", "log.requests=errors", "log.level=error,sconce::app=info"]
    with common.Server(program, *settings, models=[common.FIXTURES / it for it in names]) as server:
        server.ready()
        server.ask("POST", "/predict/tabular", TABULAR)
        before, begun = server.memory() >> 20, time.monotonic()
        results = multiprocessing.Queue()
        workers = [multiprocessing.Process(target=work, args=(server.http, count // PROCESSES, seed * 1000 + it, results))
                   for it in range(PROCESSES)]
        with common.Probe(server, every=0.1) as probe:
            [it.start() for it in workers]
            outcomes = [results.get(timeout=3600) for _ in workers]
            [it.join() for it in workers]
        counts = {}
        for _, found, *_ in outcomes:
            for status, number in found.items():
                counts[status] = counts.get(status, 0) + number
        sent, hung = sum(it[0] for it in outcomes), sum(it[4] for it in outcomes)
        faults = [it for outcome in outcomes for it in outcome[2]]
        print(f"  {sent} requests in {time.monotonic() - begun:.0f} s; answers: {dict(sorted(counts.items(), key=str))}")
        time.sleep(6)
        after = server.memory() >> 20
        print(f"  resident {before} MiB before, {after} after; {probe}")
        for example in faults + [it for outcome in outcomes for it in outcome[3]]:
            print("  example:", example)
        check.that(server.is_alive(), "the server lives")
        check.that(not faults, "no answer is a fault of the server's own")
        check.that(hung == 0, f"every connection is answered or closed within {PATIENCE} s: {hung} are not")
        check.that(probe.failed == 0, "liveness is answered")
        check.that(after < before * 1.2 + 32, "memory comes down")
        status, answer = server.ask("POST", "/predict/tabular", TABULAR)
        check.that(status == 200, "it still predicts")
    check.end()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
