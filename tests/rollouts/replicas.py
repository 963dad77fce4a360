"""Orders to three replicas, of which one has a bad version, is not there, or hangs: the order ends at the first that fails, and who
only looks goes on.

What the command prints is printed. All replicas have a load meanwhile, and each answer is checked by the version that it names.
"""

import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time

import models
import serving
from load import Load

# Seconds that an order may take.
LONGEST = 120
# Requests a second for each replica.
RATE = 30


class Replicas:
    """Three servers with folders of their own, in which nothing is noticed by itself."""

    def __init__(self, program):
        self.program, self.servers, self.folders = program, {}, {}
        for name in "abc":
            self.servers[name], self.folders[name] = serving.serve(program, watch="off", threads__instances=1)
        self.names = {name: "%s:%d" % server.management for name, server in self.servers.items()}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        [server.stop() for server in self.servers.values()]

    def save(self, version):
        [models.save(folder, version) for folder in self.folders.values()]

    def remove(self, *versions):
        [shutil.rmtree(folder / str(version)) for folder in self.folders.values() for version in versions]

    def tell(self, order, to="abc", status=0, within=LONGEST, more=()):
        """Runs the command for these replicas, and prints it with what it prints. Whether it ended so, and in time, is told."""
        addresses = [self.names[name] for name in to]
        command = ["sconce", *order.split(), "--to", ",".join(addresses), *more]
        print("  $ " + " ".join(command))
        begun = time.monotonic()
        try:
            ended = subprocess.run([self.program, *command[1:]], capture_output=True, text=True, timeout=LONGEST)
        except subprocess.TimeoutExpired:
            print(f"    does not end within {LONGEST} s")
            return Told("", "", [], False)
        took = time.monotonic() - begun
        for stream, text in (("", ended.stdout), ("stderr: ", ended.stderr)):
            for line in text.splitlines():
                print(f"    {stream}{line}")
        print(f"    status {ended.returncode} after {took:.1f} s", flush=True)
        is_so = ended.returncode == status and took <= within
        return Told(ended.stdout, ended.stderr, addresses, is_so)

    def serve(self):
        """Of each replica the version that answers, and the one that a roll-out brings."""
        told = {name: serving.model(server) for name, server in self.servers.items()}
        return {name: (it["version"], it["labels"].get("canary")) for name, it in told.items()}


class Told:
    """What the command wrote about whom."""

    def __init__(self, out, err, addresses, is_so):
        self.out, self.err, self.addresses, self.is_so = out, err, addresses, is_so

    def ends_at(self, number):
        """Whether it ended at that replica: those before are shown, it is named with the reason, the others as not told."""
        before, failed, after = self.addresses[:number], self.addresses[number], self.addresses[number + 1:]
        shown = [line for line in self.out.splitlines() if line in self.addresses]
        begins = self.err.startswith(f"{failed}: ")
        untold = self.err.strip().endswith(f"\nnot told: {', '.join(after)}") if after else "not told" not in self.err
        return self.is_so and shown == before and begins and untold

    def goes_on_past(self, number):
        """Whether all but that replica are shown, and it is named with the reason."""
        others = [it for place, it in enumerate(self.addresses) if place != number]
        shown = [line for line in self.out.splitlines() if line in self.addresses]
        return self.is_so and shown == others and self.err.startswith(f"{self.addresses[number]}: ")


@contextlib.contextmanager
def odd_server(how):
    """The address of something that takes connections and is no replica: it says nothing, hangs up, or says something else."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        kept, ending = [], threading.Event()
        listening.settimeout(0.1)

        def accept():
            while not ending.is_set():
                with contextlib.suppress(OSError):
                    connection, _ = listening.accept()
                    kept.append(connection)
                    if how == "hangs up":
                        connection.recv(65536)
                        connection.close()
                    if how == "no HTTP":
                        connection.recv(65536)
                        connection.sendall(b"220 mail.example ESMTP\r\n")
                        connection.close()
                    if how == "half an answer":
                        connection.recv(65536)
                        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"name":')
                        connection.close()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield "127.0.0.1:%d" % listening.getsockname()[1]
        finally:
            ending.set()
            thread.join(10)
            [connection.close() for connection in kept]


def nobody():
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return "127.0.0.1:%d" % listening.getsockname()[1]


@contextlib.contextmanager
def full_queue():
    """An address where nobody accepts and the kernel keeps no more connections: connecting itself hangs."""
    with socket.socket() as listening, contextlib.ExitStack() as clients:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            client = clients.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listening.getsockname())
        yield "127.0.0.1:%d" % listening.getsockname()[1]


def bad_version(replicas, check):
    """A file that is damaged on one replica, then golden requests that one of them misses."""
    replicas.save(2)
    damaged = replicas.folders["b"] / "2/model.pt"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2] + b"x" * 50 + whole[len(whole) // 2 + 50:])
    told = replicas.tell("rollout start m/2", status=1)
    check.that(told.ends_at(1), "a roll-out ends at the replica whose file is damaged, and says who was not told")
    at = replicas.serve()
    check.that(at == {"a": ("1", "2"), "b": ("1", None), "c": ("1", None)}, f"only the first one has begun ({at})")
    told = replicas.tell("rollout status m")
    check.that(told.is_so and told.out.count("no roll-out is under way") == 2, "the status shows all three")
    told = replicas.tell("rollout weight m 50", to="a")
    check.that(told.is_so, "the one that has begun goes on")
    time.sleep(1)
    told = replicas.tell("rollout promote m", status=1)
    at = replicas.serve()
    check.that(told.ends_at(1) and at["a"] == ("2", None), f"promoting ends at the one without a roll-out ({at})")
    told = replicas.tell("reject m/2", to="a")
    check.that(told.is_so and replicas.serve()["a"] == ("1", None), "the first one goes back")

    replicas.save(3)
    golden = replicas.folders["b"] / "3/golden.jsonl"
    golden.write_text(json.dumps({"request": {"features": [1, 2, 3, 4]}, "expected": [9.0, 9.0]}) + "\n")
    told = replicas.tell("load m", status=1)
    check.that(told.ends_at(1) and "golden.jsonl" in told.err, "a load ends at the replica that misses a golden request")
    at = replicas.serve()
    check.that(at == {"a": ("3", None), "b": ("1", None), "c": ("1", None)}, f"the others serve what they served ({at})")
    told = replicas.tell("models")
    check.that(told.is_so, "the models of all three are listed")
    told = replicas.tell("reject m/3", to="a")
    check.that(told.is_so and replicas.serve()["a"] == ("1", None), "the first one goes back")
    told = replicas.tell("load m", status=1)
    check.that(told.ends_at(1), "what was rejected is no problem of the first, and the one that misses still ends it")
    replicas.remove(2, 3)


def away(replicas, check):
    """One replica that is not there, and others that are no help."""
    replicas.save(4)
    before = replicas.serve()
    replicas.names["-"] = nobody()
    told = replicas.tell("models", to="a-c", status=1, within=15)
    check.that(told.goes_on_past(1), "one that is down is named at once")
    told = replicas.tell("rollout start m/4", to="-ab", status=1, within=15)
    check.that(told.ends_at(0) and replicas.serve() == before, "where the first one is down, nothing has changed")
    replicas.names["-"] = "no-such-host.invalid:8081"
    told = replicas.tell("models", to="a-c", status=1, within=30)
    check.that(told.goes_on_past(1), "one without an address is named")
    for how in ("says nothing", "hangs up", "no HTTP", "half an answer"):
        with odd_server(how) as replicas.names["-"]:
            told = replicas.tell("rollout status m", to="a-c", status=1, within=15, more=("--patience", "3"))
            check.that(told.goes_on_past(1), f"one that {how!r} is named within its patience")
    with odd_server("says nothing") as replicas.names["-"]:
        told = replicas.tell("rollout start m/4", to="-ab", status=1, within=15, more=("--patience", "3"))
        check.that(told.ends_at(0) and replicas.serve() == before, "an order that is not answered ends within its patience")
        told = replicas.tell("models", to="a-c", status=1, within=15, more=("--patience", "3", "--json"))
        lines = [json.loads(line)["replica"] for line in told.out.splitlines()]
        check.that(told.is_so and lines == [replicas.names[name] for name in "ac"], "for programs too")
    with full_queue() as replicas.names["-"]:
        told = replicas.tell("models", to="a-c", status=1, within=4, more=("--patience", "1"))
        check.that(told.goes_on_past(1), "one that takes no connection is named within its patience")
    replicas.remove(4)


def good_version(replicas, check):
    """One that is good everywhere goes all the way."""
    replicas.save(4)
    told = replicas.tell("rollout start m/4")
    check.that(told.is_so and set(replicas.serve().values()) == {("1", "4")}, "all three begin")
    told = replicas.tell("rollout weight m 50")
    check.that(told.is_so, "all three get the share")
    time.sleep(2)
    replicas.tell("rollout status m")
    told = replicas.tell("rollout promote m")
    check.that(told.is_so and set(replicas.serve().values()) == {("4", None)}, "all three end with the new version alone")
    time.sleep(1)


def replicas(program, check):
    with Replicas(program) as three:
        loads = {name: Load(server, rate=RATE) for name, server in three.servers.items()}
        with contextlib.ExitStack() as asking:
            [asking.enter_context(load) for load in loads.values()]
            bad_version(three, check)
            away(three, check)
            good_version(three, check)
    for name, load in loads.items():
        print(f"  {name}: {load.told()}; by version {dict(sorted(load.answers.items()))}")
    check.that(all(load.is_good for load in loads.values()), "no request fails or is answered wrongly")
    meant = {"a": {1, 2, 3, 4}, "b": {1, 4}, "c": {1, 4}}
    answered = {name: set(load.answers) for name, load in loads.items()}
    check.that(answered == meant, f"only versions that are good on a replica answer there ({answered})")
