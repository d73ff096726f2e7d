"""The builder's server over HTTP: answers, refusals, streams, cancelling, what is left when it is killed."""

import contextlib
import io
import json
import signal
import socket
import threading
import time
import zipfile

import pytest
from helpers.builder.drawings import random_state
from helpers.builder.server import serving
from helpers.processes import ROOT, run_here

from pinfold.builder.export import form
from pinfold.summarize.source import local_source


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("builder") / "out") as running:
        yield running


@pytest.fixture
def state(server):
    return server.ask("/api/schema")["architectures"]["encoder"]["default"]


pytestmark = pytest.mark.slow


def test_a_run_says_shapes_and_milliseconds(server, state):
    *steps, result = server.events("/api/run", {"state": state, "batch": 2, "length": 16})
    assert [event["state"] for event in steps] == ["doing", "done"]
    assert result["event"] == "result" and result["outputs"]["logits"] == [2, 2] and result["finite"]
    times = result["milliseconds"]
    assert 0 < times["least"] <= times["median"] <= times["most"]
    assert {"bert.encoder.layer.0", "bert.encoder.layer.1"} <= {row["name"] for row in result["rows"]}


def test_an_export_is_a_zip_of_the_folder_that_was_proven(server, state):
    drawn = {**state, "prefix": "Zipped", "model_type": "zipped"}
    *steps, result = server.events("/api/export", {"state": drawn})
    assert [event["id"] for event in steps if event["state"] == "done"] == [
        "write", "convert", "weights", "audit", "forward", "load", "zip",
    ]  # fmt: skip
    assert result["command"] == f"pinfold push {server.output / 'zipped'}"
    with zipfile.ZipFile(io.BytesIO(download(server, result["download"]))) as archive:
        names = {name.partition("/")[2] for name in archive.namelist()}
        assert archive.testzip() is None
    assert names == {path.name for path in (server.output / "zipped").iterdir() if path.is_file()}
    assert {"config.json", "model.safetensors", "modular_zipped.py", "card.md", "modeling_zipped.py"} <= names
    again = server.ask("/api/import", {"folder": str(server.output / "zipped")})
    assert again["state"] == drawn and again["notes"] == []
    # the same drawing again replaces it; one that a person has changed since is left alone
    assert server.events("/api/export", {"state": drawn})[-1]["event"] == "result"
    card = server.output / "zipped" / "card.md"
    card.write_text(card.read_text() + "mine\n")
    refused = server.events("/api/export", {"state": drawn})[-1]
    assert "card.md was changed since" in refused["say"] and card.read_text().endswith("mine\n")
    assert sorted(path.name for path in server.output.iterdir()) == ["zipped"]


def download(server, path: str) -> bytes:
    import urllib.request

    with urllib.request.urlopen(server.address + path) as answer:
        assert "attachment" in answer.headers["Content-Disposition"]
        return answer.read()


def test_one_job_at_a_time_and_cancel_ends_it(server, state):
    drawn = {**state, "prefix": "Slow", "model_type": "slow"}
    events: list[list] = []
    thread = threading.Thread(target=lambda: events.append(server.events("/api/export", {"state": drawn})))
    thread.start()
    time.sleep(1.5)
    status, text = server.send("/api/run", {"state": state, "length": 16})
    assert status == 409 and "another run or export is under way" in text
    assert server.ask("/api/check", {"state": state, "length": 16})["ok"]  # editing goes on
    while thread.is_alive():  # between two sandboxed steps there is nothing to end at once
        server.ask("/api/cancel", {})
        thread.join(0.5)
    assert events[0][-1] == {"event": "error", "say": "cancelled; nothing was written", "busy": False}
    assert not (server.output / "slow").exists()
    assert server.ask("/api/cancel", {}) == {"cancelled": False}


def test_a_client_that_goes_away_ends_its_job(server, state):
    body = json.dumps({"state": {**state, "prefix": "Gone", "model_type": "gone"}}).encode()
    host, port = server.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /api/export HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        connection.recv(100)
        time.sleep(1)
    deadline = time.monotonic() + 60
    while server.send("/api/run", {"state": state, "length": 16})[0] == 409:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert not (server.output / "gone").exists()


@pytest.mark.parametrize(("path", "value", "words"), [
    ("/api/check", {"state": None}, "architecture"),
    ("/api/check", {}, "architecture"),
    ("/api/import", {"text": "{"}, "cannot be read"),
    ("/api/import", {"folder": "/nonexistent"}, "has no config.json"),
    ("/api/import", {}, "has no config.json"),
    ("/api/import", {"folder": "a" * 9000}, "has no config.json"),
    ("/api/import", {"folder": "a\0b"}, "has no config.json"),
    ("/api/import", {"text": '{"model_type": "bert", "a": NaN}'}, "cannot be read"),
    ("/api/masks", {"state": "encoder", "layer": 99}, "layer"),
    ("/api/masks", {"state": "decoder"}, "masks are for an encoder"),
    ("/api/masks", {"state": "encoder", "length": 10**9}, "length"),
])  # fmt: skip
def test_a_mistake_is_one_line(server, path, value, words):
    if value.get("state") in ("encoder", "decoder"):
        value = {**value, "state": server.ask("/api/schema")["architectures"][value["state"]]["default"]}
    status, text = server.send(path, value)
    assert status == 400 and words in json.loads(text)["error"] and "\n" not in json.loads(text)["error"]


@pytest.mark.parametrize(("path", "value", "words"), [
    ("/api/run", {"length": 4096}, "longer than max_position_embeddings"),
    ("/api/run", {"length": "x"}, "cannot be run here"),
    ("/api/compare", {"kinds": ["full", "dense"]}, "'dense' is not a kind"),
    ("/api/compare", {"kinds": "full"}, "not a list"),
    ("/api/compare", {"kinds": ["full", "local"], "colour": 1}, "no setting 'colour'"),
])  # fmt: skip
def test_a_mistake_in_a_stream_is_its_last_line(server, state, path, value, words):
    last = server.events(path, {"state": state, **value} if path == "/api/run" else value)[-1]
    assert last["event"] == "error" and words in last["say"]


def test_a_model_that_is_too_large_is_not_run_here(server, state):
    large = {**state, "config": {**state["config"], "hidden_size": 1024, "vocab_size": 60_000}}
    assert "this page runs 50,000,000 at most" in server.events("/api/run", {"state": large, "length": 16})[-1]["say"]
    huge = {**state, "config": {**state["config"], "hidden_size": 65536, "intermediate_size": 262144}}
    assert "use a larger machine" in server.events("/api/export", {"state": huge})[-1]["say"]


@pytest.mark.parametrize("headers", [
    {"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Host": "127.0.0.1.evil.example"},
    {"Content-Type": "text/plain"},
])  # fmt: skip
def test_pages_of_other_addresses_are_refused(server, state, headers):
    status, text = server.send("/api/check", {"state": state}, headers)
    assert status == 400 and "error" in json.loads(text)
    for value in headers.values():  # the line names what was wrong
        assert value.rpartition("//")[2] in text or "Content-Type" in headers


@pytest.mark.parametrize("raw", [b"{", b"[]", b"\xff", b"[" * 100_000, b" " * 3_000_000])
def test_what_is_not_a_request_is_refused(server, raw):
    status, text = server.send("/api/check", raw=raw)
    assert status == 400 and "request" in json.loads(text)["error"]


def test_comparison_streams_its_steps(server):
    *steps, result = server.events("/api/compare", {"kinds": ["full", "local"], "length": 64, "measure": False})
    assert steps and all(event["event"] == "step" for event in steps)
    assert set(result["kinds"]) == {"full", "local"}


def test_a_killed_server_leaves_nothing_half_written(tmp_path):
    output = tmp_path / "out"
    with serving(output) as server:
        state = random_state(5, "encoder", small=True)
        threading.Thread(target=lambda: dropped(server, state), daemon=True).start()
        deadline = time.monotonic() + 60
        while not list(output.glob(".builder-*/*/modular_*.py")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        assert not (output / state["model_type"]).exists()
    with serving(output) as server:  # the next one clears away what was begun
        assert list(output.iterdir()) == []


def dropped(server, state) -> None:
    with contextlib.suppress(Exception):  # the connection ends with the server
        server.send("/api/export", {"state": state})


def test_an_output_that_is_a_file_is_said(tmp_path):
    (tmp_path / "out").write_text("mine")
    refused = run_here("builder", "--port", "0", "--output", str(tmp_path / "out"))
    assert refused.returncode == 2 and "is a file; name a directory" in refused.stderr
    assert (tmp_path / "out").read_text() == "mine"


def test_an_address_that_is_taken_is_said(server, tmp_path):
    port = server.address.rpartition(":")[2]
    taken = run_here("builder", "--port", port, "--output", str(tmp_path / "out"))
    assert taken.returncode == 2 and "cannot listen on 127.0.0.1 port" in taken.stderr and "--port" in taken.stderr
    assert len(taken.stderr.strip().splitlines()) == 1


def test_a_form_without_end_is_ended_with_its_server(tmp_path):
    """A number that is typed can ask for billions of layers; the check of it is not waited for."""
    with serving(tmp_path / "out", "--folder", str(ROOT / "resnet_model"), "--run") as server:
        state = server.ask("/api/schema")["architectures"]["folder"]["default"]
        endless = {**state, "config": {**state["config"], "layers": [10**9] * 4}}
        threading.Thread(target=lambda: asked(server, endless), daemon=True).start()
        time.sleep(5)
        server.process.terminate()
        server.process.wait(timeout=20)


def test_the_check_of_a_form_has_an_end(monkeypatch):
    monkeypatch.setattr(form, "SECONDS", 8)
    source = local_source(ROOT / "resnet_model", None)
    opened = form.Form(source, source.code, {"layers": [10**9] * 4}, takes_length=False)
    state = opened.schema({"architectures": {}})["architectures"]["folder"]["default"]
    (problem,) = opened.check({"state": state, "batch": 1})["problems"]
    assert "8 s" in problem["say"]


def asked(server, state) -> None:
    with contextlib.suppress(Exception):  # the connection ends with the server
        server.send("/api/check", {"state": state, "batch": 1})
