"""A store: a folder over WebDAV, as much of it as a listing and a download need. The standard library alone."""

import email.utils
import http.server
import multiprocessing
import pathlib
import urllib.parse

RESPONSE = (
    "<D:response><D:href>{href}</D:href><D:propstat><D:prop><D:resourcetype>{kind}</D:resourcetype>"
    "<D:getcontentlength>{size}</D:getcontentlength><D:getlastmodified>{changed}</D:getlastmodified>"
    '<D:getetag>"{tag}"</D:getetag></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>'
)


class Store:
    """Listens until it is stopped; `start` has it listen again at the same place. In a process of its own, so that no other that
    is started meanwhile keeps its socket open."""

    def __init__(self, folder):
        self.folder, self.port = pathlib.Path(folder), 0
        (self.folder / "models").mkdir(parents=True)
        self.start()
        self.url = f"http://127.0.0.1:{self.port}/models"

    def start(self):
        receiver, sender = multiprocessing.Pipe(duplex=False)
        self.process = multiprocessing.Process(target=self._run, args=(sender,), daemon=True)
        self.process.start()
        sender.close()
        self.port = receiver.recv()

    def stop(self):
        self.process.kill()
        self.process.join()

    def _run(self, sender):
        handler = type("Handler", (_Handler,), {"folder": self.folder})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        sender.send(server.server_address[1])
        server.serve_forever()


class _Handler(http.server.BaseHTTPRequestHandler):
    folder = None
    # Connections end with their answers, so that none outlives the store.
    protocol_version = "HTTP/1.0"

    def log_message(self, *_):
        pass

    def path_of(self):
        return self.folder / urllib.parse.unquote(self.path.partition("?")[0]).strip("/")

    def do_PROPFIND(self):
        asked = self.path_of()
        if not asked.exists():
            self.send_error(404)
            return
        found = [asked, *sorted(asked.rglob("*"))]
        text = "".join(self.describe(path) for path in found)
        self.answer(207, f'<?xml version="1.0"?><D:multistatus xmlns:D="DAV:">{text}</D:multistatus>'.encode(), "text/xml")

    def do_GET(self):
        path = self.path_of()
        if path.is_file():
            self.answer(200, path.read_bytes(), "application/octet-stream", path)
        else:
            self.send_error(404)

    def describe(self, path):
        status = path.stat()
        href = urllib.parse.quote("/" + str(path.relative_to(self.folder)))
        changed = email.utils.formatdate(status.st_mtime, usegmt=True)
        is_folder = path.is_dir()
        return RESPONSE.format(
            href=href + "/" * is_folder, kind="<D:collection/>" * is_folder, size=status.st_size, changed=changed, tag=tag(status)
        )

    def answer(self, status, body, kind, path=None):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if path:
            found = path.stat()
            self.send_header("ETag", f'"{tag(found)}"')
            self.send_header("Last-Modified", email.utils.formatdate(found.st_mtime, usegmt=True))
        self.end_headers()
        self.wfile.write(body)


def tag(status):
    return f"{status.st_mtime_ns:x}-{status.st_size:x}"
