"""What befalls a roll-out while it is under way: orders, files that come and go, a new version that gives up."""

import contextlib
import time

import common
import serving
from load import Load
from models import Endless, save

CANARY = '[rollout]\nstrategy = "canary"\nsteps = ["20% for 1h"]\n'
ABORTS = 20
# So much of the requests by hand.
SHARE = 10


def meanwhile(program, check):
    aborted(program, check)
    given_up(program, check)
    for what in ("version", "model"):
        folder_gone(program, check, what)
    for is_good in (True, False):
        third(program, check, is_good)
    for policy in ("latest", "all"):
        for what in ("a file changes", "a reload", "a restart"):
            by_hand(program, check, policy, what)


def begun(server, version):
    """Once the roll-out of this version is under way."""
    if serving.until(lambda: serving.model(server)["labels"].get("canary") == str(version), 60) is None:
        raise SystemExit(f"the roll-out does not begin: {serving.model(server)['problem']}")


def aborted(program, check):
    """A version without any share, all of whose answers are others, is aborted under load: it answers nobody on the way out."""
    server, folder = serving.serve(program, CANARY)
    with server:
        for version in range(2, 2 + (4 if check.is_quick else ABORTS)):
            save(folder, version, flips=1.0)
            serving.until(lambda: serving.model(server)["labels"].get("canary") == str(version), 60)
            serving.order(server, "rollout/weight/0")
            with Load(server) as load:
                time.sleep(1)
                serving.order(server, "rollout/abort")
                time.sleep(1)
            others = {number: n for number, n in load.answers.items() if number != 1}
            check.that(not load.failed and not others, f"abort {version - 1} of a version without a share: it answers nobody {others or ''}")


def given_up(program, check):
    """A new version whose runs hang is given up by the server, and then has to go, however few requests it failed."""
    bound = 1e6
    steps = CANARY + 'decide = "automatic"\nmin_requests = 20\n'
    server, folder = serving.serve(program, steps, requests__timeout="1s", limits__stuck_grace="1s")
    with server:
        save(folder, 2, Endless(2, bound))
        serving.until(lambda: serving.events(server, "rollout_started"), 60)
        with Load(server, rate=100) as before:
            time.sleep(4)
        # Nobody else asks meanwhile, so that these alone are what it fails.
        for _ in range(3):
            server.ask("POST", "/predict/m/versions/2", {"features": [0.1, 0.2, 0.3, 2 * bound]})
        is_given_up = serving.until(lambda: serving.logged(server, "has failed and serves nothing any more"), 20)
        with Load(server, rate=100) as load:
            ends = serving.until(lambda: serving.ended(server), 40)
            time.sleep(5)
        told = ends[-1] if ends else {"kind": "nothing", "message": serving.rollout(server)}
        found = serving.model(server)
        print(f"  hangs: {told['kind']}: {told['message']}; version {found['version']} answers by default, {[(it['version'], it['state'], it['reason']) for it in found['versions']]}")
        for it in (before, load):
            print(f"  {it.told()}", flush=True)
        check.that(is_given_up and told["kind"] == "rollout_rolled_back", "hangs: it is rolled back")
        check.that(load.is_good and set(load.answers) == {1}, "hangs: version 1 answers all requests then")


def folder_gone(program, check, what):
    """The folder of the old version goes, or that of the model, and the new version is a bad one."""
    server, folder = serving.serve(program, CANARY + 'decide = "automatic"\n')
    with server:
        save(folder, 2, fails=0.3)
        begun(server, 2)
        gone = folder / "1" if what == "version" else folder
        gone.rename(server.models / ".gone")
        time.sleep(4)
        with Load(server, rate=200) as load:
            ends = serving.until(lambda: serving.ended(server), 30)
            alone = time.monotonic()
            time.sleep(2)
        print(f"  folder of the {what} gone: {ends[-1]['message'] if ends else [it['message'] for it in serving.logged(server, 'could not be moved')][-1:]}")
        print(f"  {load.told()}", flush=True)
        check.that(ends and load.by(alone) == {1}, f"folder of the {what} gone: a bad version is rolled back all the same")


def third(program, check, is_good):
    """Another version comes."""
    name = f"a third version that is {'good' if is_good else 'bad'}"
    server, folder = serving.serve(program, CANARY)
    with server:
        with Load(server, rate=200) as load:
            save(folder, 2)
            begun(server, 2)
            time.sleep(1)
            save(folder, 3)
            if not is_good:
                (folder / "3/model.pt").write_bytes(b"nothing")
            kind = "rollout_started" if is_good else "version_failed"
            told = serving.until(lambda: any(it["version"] == "3" for it in serving.events(server, kind)), 30)
            time.sleep(2)
        print(f"  {name}: {serving.model(server)['labels']}, {load.answers}; {load.told()}", flush=True)
        canary = "3" if is_good else "2"
        check.that(told and serving.model(server)["labels"] == {"stable": "1", "canary": canary}, f"{name}: {canary} is rolled out")
        check.that(load.is_good, f"{name}: no request fails or is answered wrongly")


def by_hand(program, check, policy, what):
    """A roll-out that an operator began, of a model whose model.toml says nothing of it, goes on until the operator ends it."""
    name = f"by hand, of {policy}, {what}"
    server, folder = serving.serve(program)
    with server:
        manifest = folder / "model.toml"
        manifest.write_text(f'versions = "{policy}"\n' + manifest.read_text())
        serving.order(server, "versions/1/default")
        save(folder, 2, flips=1.0)
        time.sleep(5)
        serving.order(server, "versions/2/rollout")
        serving.order(server, f"rollout/weight/{SHARE}")
        with contextlib.ExitStack() as stack:
            again = server
            if what == "a file changes":
                (folder / "notes.txt").write_text("of no importance")
                time.sleep(5)
            elif what == "a reload":
                serving.order(server, "reload")
            else:
                server.process.kill()
                server.process.wait(30)
                again = stack.enter_context(common.Server(program, f"state_dir={server.folder.name}/state", models=server.models))
                again.ready()
                time.sleep(3)
            with Load(again, clients=4, flips={2: 1.0}) as load:
                time.sleep(5)
            share = 100 * load.answers.get(2, 0) / max(load.n, 1)
            ends = serving.ended(again)
            print(f"  {name}: {share:.2f} % by version 2, {ends[-1]['kind'] + ': ' + ends[-1]['message'] if ends else 'under way'}", flush=True)
            check.that(not ends and abs(share - SHARE) < 1, f"{name}: the roll-out goes on with its share")
            check.that(load.is_good, f"{name}: no request fails or is answered wrongly")
