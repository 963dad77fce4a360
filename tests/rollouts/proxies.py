"""Three replicas behind HAProxy and behind nginx, restarted one after another under load: no request may fail.

Then each is killed once: only what it had under way may fail, and nothing because it is back and still loads. HAProxy's file is
that of deploy/, with a third server in it. A proxy that is not installed is left out (Debian: haproxy, nginx-light).
"""

import collections
import contextlib
import itertools
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import types

import common
import models
import serving
from load import Load

HAPROXY = common.ROOT / "deploy/haproxy/haproxy.cfg"
ROUNDS = 10
# Longer than deploy's HAProxy takes to notice: a check a second, and another one half a second later.
LAME_DUCK = 3
# Requests a second.
RATE = 100
QUIET_SECONDS = 5
# That a start asks, so that it takes a while.
GOLDEN_REQUESTS = 10_000
# The last line of a server's log that owes nothing.
GOOD_BYE = "every request was answered, goodbye"
# What a client sees of a request whose replica is gone: its connection closed, or that the gateway is bad.
LOST = (0, 502)
PORTS = itertools.count(20000 + os.getpid() % 8000)

# What nginx needs to be without an installation, as whoever starts it.
NGINX = """
daemon off;
%(user)s
worker_processes auto;
pid %(folder)s/nginx.pid;
error_log %(folder)s/error.log warn;
events { worker_connections 1024; }
http {
    log_format tries '$status $upstream_status';
    access_log %(folder)s/access.log tries;
    client_body_temp_path %(folder)s/body;
    proxy_temp_path %(folder)s/proxy;
    fastcgi_temp_path %(folder)s/fastcgi;
    uwsgi_temp_path %(folder)s/uwsgi;
    scgi_temp_path %(folder)s/scgi;
    # The load may use a connection again before it hears that this answer was its last.
    keepalive_requests 1000000;
%(rules)s
}
"""

# What is recommended. nginx looks at no probe: it finds by its requests that a replica is gone, or not ready yet.
RULES = """
    upstream replicas {
        # All workers know which replica failed, and leave it alone for a second.
        zone replicas 64k;
        least_conn;
        keepalive 32;
        %(servers)s
    }
    server {
        listen %(listen)s;
        client_max_body_size 16m;
        location = /metrics { return 404; }
        location / {
            proxy_pass http://replicas;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_connect_timeout 2s;
            proxy_read_timeout 40s;
            # A POST too: a replica that starts answers 503 until its models are there. A request that takes too long
            # is not made again.
            proxy_next_upstream error http_503 non_idempotent;
            proxy_next_upstream_tries 3;
        }
    }
"""

# For models that keep a state: only what no replica has computed is sent to another one. No connection to a replica is kept,
# since one that closes while a request is on its way leaves open whether it was computed.
ONCE = """
    upstream replicas {
        zone replicas 64k;
        least_conn;
        %(servers)s
    }
    server {
        listen %(listen)s;
        client_max_body_size 16m;
        proxy_http_version 1.1;
        proxy_set_header Connection close;
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_connect_timeout 2s;
        proxy_read_timeout 40s;
        location = /metrics { return 404; }
        location / {
            proxy_pass http://replicas;
            proxy_next_upstream error timeout;
            proxy_intercept_errors on;
            error_page 503 = @others;
        }
        location @others {
            proxy_pass http://replicas;
            proxy_next_upstream error http_503 non_idempotent;
        }
    }
"""


class Replica(common.Server):
    """A server whose ports stay the same, so that a proxy finds it again; it may be started many times."""

    def __init__(self, program, folder, *settings):
        self.models, self.log, self.addresses = folder / "models", collections.deque(maxlen=1000), {}
        model = self.models / "m"
        model.mkdir(parents=True)
        (model / "model.toml").write_text(models.MANIFEST)
        models.save(model, 1)
        (model / "1/golden.jsonl").write_text("".join(golden()))
        http, management = free_ports(2)
        self.command = [program, "serve", "--models", str(self.models), "--listen", f"127.0.0.1:{http}"]
        self.command += ["--manage-listen", f"127.0.0.1:{management}", "--log-format", "json"]
        for setting in (f"state_dir={folder / 'state'}", *settings):
            self.command += ["--set", setting]
        self.is_listening = threading.Event()
        self.start()

    def start(self):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("SCONCE_")}
        self.log.clear()
        self.is_listening.clear()
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        if not self.is_listening.wait(common.PATIENCE):
            self.process.kill()
            raise SystemExit(f"the server does not listen:\n{self.last_words()}")

    def restart(self, number):
        """How the one before ended with this signal. Comes back when the new one has answered a prediction: the proxy has it."""
        self.signal(number)
        status = self.wait()
        self.reader.join(common.PATIENCE)
        ending = (status, self.log[-1]["message"] if self.log else "")
        self.start()
        self.ready()
        if serving.until(lambda: serving.total(self, "sconce_requests_total", model="m", code="ok"), common.PATIENCE) is None:
            raise SystemExit("the proxy sends nothing to a replica that is back")
        return ending

    def stop(self):
        self.process.kill()
        self.process.wait()


def golden():
    """Lines of a golden.jsonl that the model answers."""
    draw = random.Random(1)
    for _ in range(GOLDEN_REQUESTS):
        row = [round(draw.random(), 6) for _ in range(4)]
        yield json.dumps({"request": {"features": row}, "expected": models.expected(1, row)}) + "\n"


class Proxy:
    """A proxy that runs. `told` gives what it has counted, in words."""

    def __init__(self, name, folder, command, told, environment=None):
        self.name, self.folder, self.told, self.words = name, folder, told, folder / "output"
        with open(self.words, "wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **(environment or {})})

    def last_words(self):
        files = [it for it in (self.words, self.folder / "error.log") if it.exists()]
        return "\n".join("    " + line for it in files for line in it.read_text().splitlines()[-20:])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(common.PATIENCE)


def free_ports(n):
    """Ports that nobody listens on, below those that the system gives to clients: none takes one while a replica is away."""
    return list(itertools.islice((port for port in PORTS if is_free(port)), n))


def is_free(port):
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False


def tool(name):
    """Where the system has a program, which may be no place for users."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def addresses(replicas):
    return [f"127.0.0.1:{replica.port}" for replica in replicas]


def haproxy(folder, port, replicas):
    second = '    server sconce-b "${SCONCE_B}"\n'
    text = HAPROXY.read_text()
    assert second in text, "deploy/haproxy/haproxy.cfg has no second server"
    path = folder / "haproxy.cfg"
    path.write_text(text.replace(second, second + second.replace("-b", "-c").replace("_B", "_C")))
    [figures] = free_ports(1)
    environment = {"LISTEN": f"127.0.0.1:{port}", "FIGURES": f"127.0.0.1:{figures}"}
    environment |= {f"SCONCE_{it}": address for it, address in zip("ABC", addresses(replicas))}

    def told():
        text = common.get(("127.0.0.1", figures), "/metrics")[2].decode()
        found = re.findall(r'^haproxy_backend_(retry|redispatch)_warnings_total\{proxy="replicas"\} (\d+)', text, re.M)
        return ", ".join(f"{n} {what}" for what, n in found)

    return Proxy("HAProxy", folder, [tool("haproxy"), "-f", str(path)], told, environment)


def nginx(folder, port, replicas, name, rules):
    servers = "\n        ".join(f"server {it} max_fails=1 fail_timeout=1s;" for it in addresses(replicas))
    rules = rules % {"servers": servers, "listen": f"127.0.0.1:{port}"}
    path = folder / "nginx.conf"
    path.write_text(NGINX % {"folder": folder, "rules": rules, "user": "user root;" if os.geteuid() == 0 else ""})

    def told():
        lines = (folder / "access.log").read_text().splitlines()
        tries = collections.Counter(line.split(" ", 1)[1] for line in lines)
        return "tries: " + "; ".join(f"{n} times {it}" for it, n in tries.most_common(8))

    return Proxy(name, folder, [tool("nginx"), "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(path)], told)


def is_ready(proxy, port):
    if proxy.process.poll() is not None:
        raise SystemExit(f"{proxy.name} does not run: {proxy.last_words()}")
    try:
        return common.get(("127.0.0.1", port), "/health/ready")[0] == 200
    except OSError:
        return False


def restart_behind(proxy, port, replicas, rounds, number=signal.SIGTERM):
    """The replicas one after another, again and again, while the proxy has a load: the load, and how they ended."""
    if serving.until(lambda: is_ready(proxy, port), common.PATIENCE) is None:
        raise SystemExit(f"{proxy.name} does not serve: {proxy.last_words()}")
    endings, begun = collections.Counter(), time.monotonic()
    with Load(types.SimpleNamespace(http=("127.0.0.1", port)), rate=RATE) as load:
        time.sleep(QUIET_SECONDS)
        for _ in range(rounds):
            for replica in replicas:
                endings[replica.restart(number)] += 1
        time.sleep(1)
        seconds = time.monotonic() - begun
    quiet = [took for due, took in load.latencies if due < begun + QUIET_SECONDS]
    meanwhile = [took for due, took in load.latencies if due >= begun + QUIET_SECONDS]
    print(f"  {proxy.name}, {rounds * len(replicas)} times {number.name} in {seconds:.0f} s: {load.told()}")
    print(f"  quiet {common.milliseconds(quiet)}; meanwhile {common.milliseconds(meanwhile)}; {proxy.told()}")
    kinds = collections.Counter(f"{status} {reason}" for status, reason, *_ in load.failed)
    for kind, n in kinds.most_common(10):
        print(f"    {n} times {kind}")
    return load, endings


def proxies(program, check):
    rounds = 2 if getattr(check, "is_quick", False) else ROUNDS
    cases = [
        ("haproxy", haproxy),
        ("nginx", lambda *given: nginx(*given, "nginx", RULES)),
        ("nginx", lambda *given: nginx(*given, "nginx, nothing computed twice", ONCE)),
    ]
    for needed, start in cases:
        if tool(needed) is None:
            print(f"  left out: {needed} is not installed")
            continue
        with tempfile.TemporaryDirectory(prefix="sconce-proxies-") as root, contextlib.ExitStack() as stack:
            folder, settings = pathlib.Path(root), (f"shutdown.lame_duck={LAME_DUCK}s", "threads.instances=1")
            replicas = [stack.enter_context(Replica(program, folder / name, *settings)) for name in "abc"]
            [replica.ready() for replica in replicas]
            [port] = free_ports(1)
            with start(folder, port, replicas) as proxy:
                load, endings = restart_behind(proxy, port, replicas, rounds)
                owed = {ending: n for ending, n in endings.items() if ending != (0, GOOD_BYE)}
                check.that(not owed, f"{proxy.name}: replicas end with status 0 and have answered everything {owed or ''}")
                check.that(load.is_good, f"{proxy.name}: no request fails or is answered wrongly")
                if not load.is_good:
                    print(proxy.last_words())
                load, _ = restart_behind(proxy, port, replicas, 1, signal.SIGKILL)
                others = [status for status, *_ in load.failed if status not in LOST]
                check.that(not load.wrong and not others, f"{proxy.name}: a kill costs only what was under way")
