"""What the server sends by itself, taken by real receivers: spans by OTLP over gRPC and HTTP, exemplars by Prometheus, captured requests
as CloudEvents by the library that KServe's consumers read them with."""

import concurrent.futures
import contextlib
import gzip
import http.server
import json
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from http.client import HTTPConnection

import grpc
from cloudevents.http import from_http
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as services

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/attack"))
import common  # noqa: E402

PATIENCE = 60
REQUESTS = 200
ROW = [0.0] * 784


class Spans:
    """What was received."""

    def __init__(self):
        self.all, self.services, self.headers = [], set(), []

    def take(self, request, headers=()):
        self.headers.append(dict(headers))
        for resource in request.resource_spans:
            self.services.update(it.value.string_value for it in resource.resource.attributes if it.key == "service.name")
            for scope in resource.scope_spans:
                self.all.extend(scope.spans)

    def wait_for(self, n, name):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if sum(it.name == name for it in self.all) >= n:
                time.sleep(2.5)
                return
            time.sleep(0.1)


@contextlib.contextmanager
def over_grpc(spans):
    class Service(services.TraceServiceServicer):
        def Export(self, request, context):
            spans.take(request, context.invocation_metadata())
            return service.ExportTraceServiceResponse()

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    services.add_TraceServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop(0)


@contextlib.contextmanager
def over_http(take, port=0):
    """`take` gets path, headers and body, and says the status."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            status = take(self.path, self.headers, body)
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    class Receiver(http.server.ThreadingHTTPServer):
        def handle_error(self, *_):
            """A server that ends resets what is left open."""

    server = Receiver(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def predict(server, headers=(), row=ROW, path="/predict/digits"):
    connection = HTTPConnection(*server.http, timeout=PATIENCE)
    connection.request("POST", path, json.dumps({"features": row}), dict(headers))
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text)


def many(server, n, headers=lambda: {}):
    """Asks from many threads, so that requests share runs; what was sent along with each."""
    sent = [headers() for _ in range(n)]
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        statuses = list(pool.map(lambda it: predict(server, it)[0], sent))
    assert set(statuses) == {200}, statuses
    return sent


def traceparent():
    return {"traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"}


def digits(program, *settings, **others):
    settings = ("batching.max_queue_delay=20ms", "threads.instances=1", *settings)
    return common.Server(program, *settings, models=[ROOT / "models/digits"], **others).ready()


def said(span):
    value = lambda it: it.value.string_value or it.value.int_value
    return {it.key: value(it) for it in span.attributes}


def traces(check, name, spans, server):
    sent = many(server, REQUESTS, traceparent)
    assert predict(server, traceparent(), row=[1.0])[0] == 400
    spans.wait_for(REQUESTS + 1, "POST /predict/{model}")
    roots = {it.trace_id.hex(): it for it in spans.all if it.name == "POST /predict/{model}"}
    mine = [it["traceparent"].split("-") for it in sent]
    is_child = all(roots[trace].parent_span_id.hex() == parent for _, trace, parent, _ in mine if trace in roots)
    check.that(len(roots) == REQUESTS + 1 and is_child, f"{name}: each of {REQUESTS + 1} requests is a span of its caller's trace")
    parts = {}
    for span in spans.all:
        if span.parent_span_id and span.name != "POST /predict/{model}":
            parts.setdefault(span.parent_span_id, {})[span.name] = span
    complete = [root for root in roots.values() if set(parts.get(root.span_id, ())) == {"decode", "queue", "compute", "encode"}]
    check.that(len(complete) == REQUESTS, f"{name}: {len(complete)} requests have their four phases")
    inside = all(
        root.start_time_unix_nano - 10**5 <= part.start_time_unix_nano <= part.end_time_unix_nano <= root.end_time_unix_nano + 10**5
        for root in complete
        for part in parts[root.span_id].values()
    )
    check.that(inside, f"{name}: phases lie within their requests")
    batches = {(it.trace_id, it.span_id): it for it in spans.all if it.name == "batch"}
    linked = {(it.trace_id, it.span_id) for batch in batches.values() for it in batch.links}
    computed = {(it.trace_id, it.span_id): it for it in spans.all if it.name == "compute"}
    shared = {key for key, it in computed.items() if it.links}
    back = all((link.trace_id, link.span_id) in batches for key in shared for link in computed[key].links)
    rows = all(said(batch)["sconce.batch.rows"] == len(batch.links) for batch in batches.values())
    check.that(
        len(batches) > 0 and linked == shared and back and rows,
        f"{name}: {len(batches)} runs are linked with all of the {len(shared)} requests that shared them, and those with them",
    )
    refused = next(it for it in roots.values() if said(it)["http.response.status_code"] == 400)
    check.that(
        said(refused)["error.type"] == "invalid_input" and refused.status.code == 0,
        f"{name}: a caller's error is named, and no error of the server's",
    )
    check.that(spans.services == {"sconce"}, f"{name}: the service has its name")
    check.that(server.metric('sconce_spans_total{outcome="sent"}') == len(spans.all), f"{name}: {len(spans.all)} spans are counted")


def spans_by_both_wires(program, check):
    spans = Spans()
    with over_grpc(spans) as endpoint:
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_HEADERS": "x-key=secret",
        }
        with digits(program, variables=variables) as server:
            traces(check, "gRPC", spans, server)
            check.that(spans.headers[0].get("x-key") == "secret", "gRPC: the receiver's key is sent along")
    spans = Spans()

    def take(path, headers, body):
        assert path == "/v1/traces", path
        spans.take(service.ExportTraceServiceRequest.FromString(body), headers)
        return 200

    with over_http(take) as endpoint:
        variables = {"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}
        with digits(program, f"tracing.endpoint={endpoint}", variables=variables) as server:
            traces(check, "HTTP", spans, server)


def a_receiver_that_is_away(program, check):
    port = free_port()
    spans = Spans()
    settings = [f"tracing.endpoint=http://127.0.0.1:{port}", "tracing.sample_rate=1"]
    with digits(program, *settings) as server:
        many(server, REQUESTS)
        end = time.monotonic() + PATIENCE
        while server.metric('sconce_spans_total{outcome="failed"}') == 0 and time.monotonic() < end:
            time.sleep(0.1)
        failed = server.metric('sconce_spans_total{outcome="failed"}')
        told = sum("spans cannot be sent" in json.dumps(line) for line in server.log)
        check.that(failed > 0 and told == 1, f"a receiver that is away: {failed:.0f} spans are lost and counted, which is said once")

        def take(_, headers, body):
            spans.take(service.ExportTraceServiceRequest.FromString(body), headers)
            return 200

        with over_http(take, port):
            many(server, REQUESTS)
            spans.wait_for(REQUESTS, "POST /predict/{model}")
        check.that(len(spans.all) >= REQUESTS, "what comes after it is back is sent")


def exemplars(program, check):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sconce-watching-"))
    spans = Spans()
    with over_grpc(spans) as endpoint:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_TRACES_SAMPLER": "always_on"}
        with digits(program, variables=variables) as server:
            (folder / "prometheus.yml").write_text(
                "global: {scrape_interval: 1s}\n"
                f"scrape_configs: [{{job_name: sconce, static_configs: [{{targets: ['127.0.0.1:{server.port}']}}]}}]\n"
            )
            port = free_port()
            command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
            command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error", "--enable-feature=exemplar-storage"]
            process = subprocess.Popen(command)

            def api(path, **parameters):
                url = f"http://127.0.0.1:{port}/api/v1/{path}?" + urllib.parse.urlencode(parameters)
                with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                    return json.load(answer)["data"]
                return []

            end, found = time.monotonic() + PATIENCE, []
            while not found and time.monotonic() < end:
                many(server, 20)
                time.sleep(1)
                found = api("query_exemplars", query="sconce_request_duration_seconds_bucket", start=time.time() - 300, end=time.time())
            spans.wait_for(1, "POST /predict/{model}")
            known = {it.trace_id.hex() for it in spans.all}
            ids = {it["labels"]["trace_id"] for series in found for it in series["exemplars"]}
            check.that(len(ids) > 0 and ids <= known, f"Prometheus has {len(ids)} exemplars, all of traces that were sent")
            up = api("query", query="up")
            check.that(up["result"][0]["value"][1] == "1", "its scrape of OpenMetrics is whole")
            with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=PATIENCE) as answer:
                plain = answer.read().decode()
            checked = subprocess.run(["promtool", "check", "metrics"], input=plain, text=True, capture_output=True)
            check.that("trace_id" not in plain and checked.returncode == 0, "the older text has none, and promtool likes it")
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)
    shutil.rmtree(folder)


def events(program, check):
    """As KServe's consumers take them."""
    taken, is_away = [], threading.Event()

    def take(_, headers, body):
        if is_away.is_set():
            return 503
        taken.append(from_http({key.lower(): value for key, value in headers.items()}, body))
        return 200

    with over_http(take) as address, digits(program, f"capture.sink={address}", "capture.sample_rate=1") as server:
        ids = [f"r-{n}" for n in range(REQUESTS)]
        answers = {it: predict(server, {"x-request-id": it}, row=[n % 16 / 16] * 784) for n, it in enumerate(ids)}
        end = time.monotonic() + PATIENCE
        sent = lambda outcome: server.metric(f'sconce_capture_sent_total{{outcome="{outcome}"}}')
        while sent("sent") < REQUESTS and time.monotonic() < end:
            time.sleep(0.1)
        of = {kind: {it["id"]: it for it in taken if it["type"].endswith(kind)} for kind in ("request", "response")}
        check.that(sorted(of["request"]) == sorted(of["response"]) == sorted(ids), f"{len(taken)} events: each request and its answer")
        right = all(
            of["request"][it].data["inputs"][0]["data"] == [n % 16 / 16] * 784
            and of["response"][it].data["outputs"][0]["data"] == answers[it][1]["prediction"]
            for n, it in enumerate(ids)
        )
        check.that(right, "they hold what was sent and what was answered")
        names = {(it["inferenceservicename"], it["component"], it["endpoint"], it["source"]) for it in taken}
        check.that(names == {("digits", "predictor", "1", "/models/digits/versions/1")}, "they name their model as KServe's do")
        is_away.set()
        begun = time.monotonic()
        many(server, REQUESTS)
        took = time.monotonic() - begun
        while sent("failed") < 1 and time.monotonic() < end:
            time.sleep(0.1)
        check.that(sent("failed") >= 1, f"a sink that is away: {REQUESTS} requests are answered in {took:.1f} s, and losses counted")
        is_away.clear()
        before = sent("sent")
        many(server, 20)
        while sent("sent") < before + 20 and time.monotonic() < end:
            time.sleep(0.1)
        check.that(sent("sent") >= before + 20, "what comes after it is back is sent")


if __name__ == "__main__":
    check = common.Check()
    for part in (spans_by_both_wires, a_receiver_that_is_away, exemplars, events):
        part(sys.argv[1], check)
    check.end()
