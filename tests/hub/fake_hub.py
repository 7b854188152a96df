# SPDX-License-Identifier: Apache-2.0
"""A Hub on the loopback, for tests: the API's answers, files, and a second port that stores the large ones.

It speaks what huggingface_hub 2.4.0 and ingot ask for. A fault is a function (handler) -> True when it has
answered; `hub.faults[PATH]` is a list of them, each used once for a request whose path starts so; one that is
`forever` stays.
"""
import hashlib
import http.server
import json
import socket
import threading
import time
import urllib.parse


def git_sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Repo:
    """Files by path; those of `lfs` are stored on the other port."""

    def __init__(self, files, lfs=(), revisions=("main",)):
        self.files, self.lfs = files, set(lfs)
        self.revisions = revisions
        text = json.dumps(sorted((path, git_sha1(data)) for path, data in files.items()))
        self.commit = hashlib.sha1(text.encode()).hexdigest()
        self.digests = True  # the listing tells them
        self.extra = []  # siblings as a bad server lists them
        self.gated = False
        self.private = False

    def etag(self, path):
        data = self.files[path]
        return hashlib.sha256(data).hexdigest() if path in self.lfs else git_sha1(data)

    def pointer(self, path):
        data = self.files[path]
        return b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n" % (
            hashlib.sha256(data).hexdigest().encode(), len(data))

    def blob(self, path):
        return git_sha1(self.pointer(path) if path in self.lfs else self.files[path])

    def siblings(self, blobs):
        for path in self.files:
            entry = {"rfilename": path}
            if blobs and self.digests:
                entry.update(size=len(self.files[path]), blobId=self.blob(path))
                if path in self.lfs:
                    entry["lfs"] = {"sha256": self.etag(path), "size": len(self.files[path]),
                                    "pointerSize": len(self.pointer(path))}
            yield entry
        yield from self.extra

    def tree(self):
        for path in self.files:
            entry = {"type": "file", "path": path, "size": len(self.files[path]), "oid": self.blob(path)}
            if path in self.lfs:
                entry["lfs"] = {"oid": self.etag(path), "size": len(self.files[path]),
                                "pointerSize": len(self.pointer(path))}
            yield entry


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub = None
    stores = False  # this is the port that stores large files

    def log_message(self, *args):
        pass

    def send(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
            self.hub.sent += len(body)

    def error(self, status, code, message="", headers=()):
        self.send(status, json.dumps({"error": message}).encode(),
                  [("X-Error-Code", code), ("X-Error-Message", message), *headers])

    def send_file(self, data, headers=()):
        wish = self.headers.get("Range")
        if not wish:
            return self.send(200, data, headers)
        first = int(wish.removeprefix("bytes=").split("-")[0])
        if first >= len(data):
            return self.send(416, b"", [("Content-Range", f"bytes */{len(data)}")])
        return self.send(206, data[first:], [("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}"), *headers])

    def cut(self, data, keep, headers=()):
        """Announces all of what was asked for, sends `keep` bytes of it, and hangs up."""
        wish = self.headers.get("Range")
        first = int(wish.removeprefix("bytes=").split("-")[0]) if wish else 0
        self.send_response(206 if wish else 200)
        if wish:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - first))
        self.end_headers()
        self.wfile.write(data[first:first + keep])
        self.hub.sent += len(data[first:first + keep])
        self.hang_up()
        return True

    def hang_up(self):
        self.close_connection = True
        self.wfile.flush()
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        hub = self.hub
        with hub.lock:
            hub.requests.append((self.command, self.path, dict(self.headers), self.stores))
            fault = hub.take_fault(self.path)
        try:
            if fault and fault(self):
                return None
            return self.stored() if self.stores else self.answer()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
            return None

    def stored(self):
        data = self.hub.blobs.get(self.path.split("/")[-1])
        return self.send_file(data) if data is not None else self.send(404)

    def answer(self):
        url = urllib.parse.urlsplit(self.path)
        parts = [urllib.parse.unquote(p) for p in url.path.strip("/").split("/")]
        api = parts[0] == "api"
        if api:
            kind, parts = parts[1], parts[2:]
        else:
            kind = "datasets" if parts[0] == "datasets" else "models"
            parts = parts[1:] if kind == "datasets" else parts
        name = "/".join(parts[:2])
        repo = self.hub.repos.get((kind, name))
        token = self.headers.get("Authorization")
        if token and token != "Bearer hf_good":
            return self.error(401, "", "Invalid credentials in Authorization header")
        if repo is None or repo.private and not token:
            return self.error(404 if token else 401, "RepoNotFound", "Repository not found")
        if repo.gated and not api:
            return self.error(403 if token else 401, "GatedRepo", "Access to this model is restricted")
        if api:
            return self.api(repo, name, parts[2:], urllib.parse.parse_qs(url.query))
        return self.resolve(repo, parts[3], "/".join(parts[4:]))

    def api(self, repo, name, rest, query):
        revision = "/".join(rest[1:]) if rest else "main"
        if revision not in repo.revisions and revision != repo.commit:
            return self.error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if rest and rest[0] == "tree":
            answer = list(repo.tree())
        else:
            answer = {"_id": "0", "id": name, "modelId": name, "sha": repo.commit, "private": False, "tags": [],
                      "siblings": list(repo.siblings("blobs" in query))}
        return self.send(200, json.dumps(answer).encode(), [("Content-Type", "application/json")])

    def resolve(self, repo, revision, path):
        if revision not in repo.revisions and revision != repo.commit:
            return self.error(404, "RevisionNotFound")
        commit = [("X-Repo-Commit", repo.commit)]
        if path not in repo.files:
            return self.error(404, "EntryNotFound", "Entry not found", commit)
        etag = f'"{repo.etag(path)}"'
        if path not in repo.lfs:
            return self.send_file(repo.files[path], [("ETag", etag), *commit])
        self.hub.blobs[repo.etag(path)] = repo.files[path]
        return self.send(302, b"", [("Location", f"{self.hub.store_url}/{repo.etag(path)}"), ("X-Linked-Etag", etag),
                                    ("X-Linked-Size", str(len(repo.files[path]))), ("ETag", '"pointer"'), *commit])


class FakeHub:
    def __init__(self):
        self.repos, self.blobs, self.faults, self.requests = {}, {}, {}, []
        self.sent = 0
        self.lock = threading.Lock()
        self.servers = [self.serve(False), self.serve(True)]
        self.url, self.store_url = (f"http://127.0.0.1:{s.server_address[1]}" for s in self.servers)

    def serve(self, stores):
        handler = type("H", (Handler,), {"hub": self, "stores": stores})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        server.handle_error = lambda *args: None  # clients that go away are part of the tests
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return server

    def add(self, name, files, lfs=(), kind="models", **more):
        repo = Repo(files, lfs, **more)
        self.repos[kind, name] = repo
        return repo

    def take_fault(self, path):
        for start, faults in self.faults.items():
            if path.startswith(start) and faults:
                fault = faults[0]
                if not getattr(fault, "forever", False):
                    faults.pop(0)
                return fault
        return None

    def close(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()


def forever(fault):
    def again(handler):
        return fault(handler)

    again.forever = True
    return again


def status(number, headers=(), code=""):
    def fault(handler):
        handler.error(number, code, "a made fault", headers)
        return True

    return fault


def redirect(where):
    def fault(handler):
        handler.send(302, b"", [("Location", where)])
        return True

    return fault


def body(data, length=None, code=200, headers=()):
    """These bytes, with this Content-Length (None: none, and the end of the connection is the end)."""
    def fault(handler):
        handler.send_response(code)
        for name, value in headers:
            handler.send_header(name, value)
        if length is not None:
            handler.send_header("Content-Length", str(length))
        handler.end_headers()
        for i in range(0, len(data), 1 << 16):
            handler.wfile.write(data[i:i + (1 << 16)])
        handler.hang_up()
        return True

    return fault


def trickle(data, pause):
    def fault(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        for byte in data:
            handler.wfile.write(bytes([byte]))
            time.sleep(pause)
        return True

    return fault


def slow(data, piece, pause):
    """All of it, but with pauses: time to be interrupted."""
    def fault(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        for i in range(0, len(data), piece):
            handler.wfile.write(data[i:i + piece])
            handler.hub.sent += len(data[i:i + piece])
            time.sleep(pause)
        return True

    return fault
