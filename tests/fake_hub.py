"""A Hugging Face Hub on this machine: repositories in memory, behind the addresses that huggingface_hub asks for."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest
from huggingface_hub import constants

TOKEN = "hf_secret"


@dataclass
class Repository:
    """One commit after another; the newest is main."""

    private: bool
    commits: list[dict[str, bytes]] = field(default_factory=lambda: [{}])

    @staticmethod
    def name(number: int) -> str:
        return f"{number:040x}"

    def files(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        for number, files in enumerate(self.commits):
            last = number == len(self.commits) - 1
            if revision == self.name(number) or (revision == "main" and last):
                return self.name(number), files
        return None


@contextmanager
def hub_on_this_machine(patch: pytest.MonkeyPatch, cache: Path) -> Iterator[dict[str, Repository]]:
    """The repositories of a fake Hub that huggingface_hub takes for the real one, with a token that may do all."""
    with fake_hub() as (address, repositories):
        patch.setattr(constants, "ENDPOINT", address)
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
        patch.setattr(constants, "HF_HUB_CACHE", str(cache))
        patch.setenv("HF_TOKEN", TOKEN)
        yield repositories


@contextmanager
def fake_hub() -> Iterator[tuple[str, dict[str, Repository]]]:
    """Its address, and what it holds."""
    repositories: dict[str, Repository] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            self._read(True)

        def do_HEAD(self) -> None:
            self._read(False)

        def do_POST(self) -> None:
            parts = unquote(urlparse(self.path).path).strip("/").split("/")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self._answer(401, {"error": "Invalid username or password."})
            if parts[:3] == ["api", "repos", "create"]:
                wanted = json.loads(body)
                name = f"{wanted.get('organization') or 'me'}/{wanted['name'].split('/')[-1]}"
                private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
                if name in repositories:
                    return self._answer(
                        409, {"error": "You already created this model repo", "url": f"{address}/{name}"}
                    )
                repositories[name] = Repository(private)
                return self._answer(200, {"url": f"{address}/{name}", "name": name, "id": name})
            if parts[1] == "validate-yaml":  # the header of a card
                return self._answer(200, {"errors": [], "warnings": []})
            name, action = "/".join(parts[2:4]), parts[4]
            if name not in repositories:
                return self._missing("RepoNotFound")
            if action == "preupload":
                files = [
                    {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for f in json.loads(body)["files"]
                ]
                return self._answer(200, {"files": files})
            assert action == "commit"
            repository = repositories[name]
            files = dict(repository.commits[-1])
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            repository.commits.append(files)
            commit = Repository.name(len(repository.commits) - 1)
            return self._answer(200, {"commitUrl": f"{address}/{name}/commit/{commit}", "commitOid": commit})

        def _read(self, with_body: bool) -> None:
            parts = unquote(urlparse(self.path).path).strip("/").split("/")
            if parts[0] == "api":
                name, action = "/".join(parts[2:4]), parts[4] if len(parts) > 4 else "info"
                revision = parts[5] if len(parts) > 5 else "main"
            else:
                name, action, revision = "/".join(parts[:2]), parts[2], parts[3]
            if name not in repositories:
                return self._missing("RepoNotFound")
            found = repositories[name].files(revision)
            if found is None:
                return self._missing("RevisionNotFound")
            commit, files = found
            if action == "tree":
                listed = [
                    {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for path, data in files.items()
                ]
                return self._answer(200, listed)
            if action in ("revision", "info"):
                siblings = [{"rfilename": path} for path in files]
                return self._answer(200, {"id": name, "sha": commit, "siblings": siblings, "private": False})
            path = "/".join(parts[4:])
            if path not in files:
                return self._missing("EntryNotFound")
            headers = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(files[path]).hexdigest()}"'}
            return self._send(200, files[path], headers, with_body)

        def _missing(self, what: str) -> None:
            self._send(404, b"", {"X-Error-Code": what, "X-Error-Message": f"{what}."})

        def _answer(self, code: int, values: object) -> None:
            self._send(code, json.dumps(values).encode(), {"Content-Type": "application/json"})

        def _send(self, code: int, data: bytes, headers: dict[str, str], with_body: bool = True) -> None:
            self.send_response(code)
            for key, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(key, value)
            self.end_headers()
            if with_body and self.command != "HEAD":
                self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield address, repositories
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
