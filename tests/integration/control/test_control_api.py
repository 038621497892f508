"""The control socket: answers, refusals, and what never gets in."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
from pathlib import Path

import pytest

from fastpath.abi import Reason, Stage, Verdict
from tests.integration.control.plant import ControlRig, UnixConnection, wait_for


def test_status_says_what_is_in_force(calm: ControlRig) -> None:
    """After the first start the policy file is in force and the engine judges."""
    status = calm.get("/v1/status")
    assert status["state"] == "ok", status
    assert status["engine"]["state"] == "judging"
    assert status["policy"]["generation"] == 1
    assert status["policy"]["file_differs"] is False
    assert status["ceiling"] == "monitor"


def test_boundary_stands_before_ports_are_attached(calm: ControlRig) -> None:
    """The kernel is asked for the static rules before any port enters the bridge."""
    wishes = [json.loads(line)["wish"] for line in (calm.kernel / "asked.jsonl").read_text().splitlines()]
    assert wishes.index("intercept") < wishes.index("apply_static") < wishes.index("attach")


@pytest.mark.parametrize(
    "path",
    [
        "zones",
        "assets",
        "conduits",
        "stages",
        "policy",
        "flows",
        "events",
        "counters",
        "quarantine",
        "doctor",
        "journal",
    ],
)
def test_every_listing_answers(calm: ControlRig, path: str) -> None:
    """Every page answers with JSON of its own model."""
    assert calm.get(f"/v1/{path}")


def test_counters_have_what_the_account_needs(calm: ControlRig) -> None:
    """The counters have the promised keys, every conduit by name, and close."""
    found = calm.get("/v1/counters")
    wanted = {"frames_before_queue", "judged", "static", "lost", "accepted", "dropped", "by_reason", "by_conduit"}
    assert wanted <= found.keys()
    assert found["unaccounted"] == 0
    assert "hmi-polls-plcs" in found["by_conduit"]


def test_explain_judges_with_the_engine(rig: ControlRig) -> None:
    """A permitted question names its conduit, a forbidden one its reason."""
    yes = rig.get("/v1/explain?source=hmi-1&destination=plc-1&service=modbus")
    assert (yes["verdict"], yes["conduit"], yes["reason"]) == ("accept", "hmi-polls-plcs", "POLICY_CONDUIT")
    no = rig.get("/v1/explain?source=office-laptop&destination=plc-1&service=tcp/502")
    assert (no["verdict"], no["policy_verdict"], no["reason"]) == ("accept", "drop", "POLICY_NO_CONDUIT")
    rig.call("PUT", "/v1/stages", {"stage": "enforce", "force": True, "reason": "rehearsal"})
    assert rig.get("/v1/explain?source=office-laptop&destination=plc-1&service=tcp/502")["verdict"] == "drop"


def test_metrics_are_prometheus_text(calm: ControlRig) -> None:
    """The metrics page carries the account."""
    status, text = calm.call("GET", "/v1/metrics")
    assert status == 200
    assert b"conduit_frames_before_queue_total 7.0" in text
    assert b"conduit_engine_judging 1.0" in text


def test_openapi_is_complete(calm: ControlRig) -> None:
    """Every reference resolves, every route has a reply, and the document names the stage request."""
    document = calm.get("/openapi.json")
    text = json.dumps(document)
    schemas = document["components"]["schemas"]
    for part in text.split('"#/components/schemas/')[1:]:
        assert part.partition('"')[0] in schemas
    assert document["openapi"].startswith("3.1")
    assert {"get", "put"} <= document["paths"]["/v1/stages"].keys()
    identifiers = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(identifiers) == len(set(identifiers))


@pytest.mark.parametrize(
    ("raw", "code"),
    [(b"{", "request_invalid"), (b"", "request_invalid"), (b'{"stage":"enforce","x":1}', "request_invalid"),
     (b'{"stage":"off"}', "request_invalid"), (b"\xff\xfe", "request_invalid"), (b"[" * 100_000, "request_invalid")],
)  # fmt: skip
def test_malformed_bodies_are_400(calm: ControlRig, raw: bytes, code: str) -> None:
    """A body that is no such request is refused with code, detail and hint, and changes nothing."""
    status, body = calm.call("PUT", "/v1/stages", raw=raw)
    assert (status, body["code"]) == (400, code)
    assert body["detail"]
    assert body["hint"]
    assert calm.ceiling() is Stage.MONITOR


def test_packed_body_is_refused_unopened(calm: ControlRig) -> None:
    """A compressed body is no request, however small it would unpack; no trace of it is an internal error."""
    connection = UnixConnection(calm.socket)
    packed = gzip.compress(b'{"stage": "enforce"}')
    connection.request("PUT", "/v1/stages", packed, {"Content-Encoding": "gzip"})
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["code"]) == (400, "request_invalid")
    connection.close()
    assert calm.ceiling() is Stage.MONITOR


@pytest.mark.parametrize("text", ["\x1b[2J", "two\nlines", "\x9b31m", "\x00"])
def test_free_text_cannot_drive_a_terminal(calm: ControlRig, text: str) -> None:
    """A reason that would clear or colour another operator's screen is refused."""
    status, body = calm.call("POST", "/v1/quarantine", {"target": "hmi-1", "reason": text})
    assert (status, body["code"]) == (400, "request_invalid")
    assert "\x1b" not in body["detail"]
    assert calm.get("/v1/quarantine")["entries"] == []


def test_unknown_objects_and_routes_are_404(calm: ControlRig) -> None:
    """Unknown names and paths are refused with JSON, too."""
    status, body = calm.call("PUT", "/v1/stages", {"stage": "enforce", "conduit": "nobody"})
    assert (status, body["code"]) == (404, "conduit_unknown")
    status, body = calm.call("GET", "/v2/nothing")
    assert (status, body["code"]) == (404, "http_404")


def test_100_megabyte_request_is_413(calm: ControlRig) -> None:
    """A 100 MB body is refused without being held in memory, and the next request is answered."""
    assert calm.process is not None
    connection = UnixConnection(calm.socket)
    connection.putrequest("POST", "/v1/policy")
    connection.putheader("Content-Length", str(100_000_000))
    connection.endheaders()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused before the end: the answer is waiting
        for _ in range(100):
            connection.send(bytes(1_000_000))
    answer = connection.getresponse()
    assert answer.status == 413
    assert json.loads(answer.read())["code"] == "request_too_large"
    connection.close()
    memory = Path(f"/proc/{calm.process.pid}/status").read_text()
    peak_kb = int(memory.split("VmHWM:")[1].split()[0])
    assert peak_kb < 400_000
    assert calm.get("/v1/status")["state"] == "ok"


def test_unannounced_length_is_413_as_well(calm: ControlRig) -> None:
    """A chunked body without a length is cut off at the same limit."""
    connection = UnixConnection(calm.socket)
    chunks = (bytes(1_000_000) for _ in range(80))
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.request("POST", "/v1/policy", chunks, encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
    assert connection.getresponse().status == 413
    connection.close()


@pytest.mark.parametrize("cut", [1, 10, 40, 80, 150])
def test_message_cut_on_the_socket(calm: ControlRig, cut: int) -> None:
    """A request that ends in the middle changes nothing and hurts nobody."""
    head = b"PUT /v1/stages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 40\r\n\r\n"
    whole = head + b'{"stage": "enforce", "reason": "half way'
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(calm.socket))
        client.sendall(whole[:cut])
    assert calm.get("/v1/status")["ceiling"] == "monitor"
    assert calm.ceiling() is Stage.MONITOR


def test_garbage_is_400(calm: ControlRig) -> None:
    """Bytes that are no HTTP get an answer or an end, and the server goes on."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(calm.socket))
        client.sendall(b"\x16\x03\x01\x00\xa5\x01\x00\r\n\r\n")
        assert b" 400 " in client.recv(4096).split(b"\r\n")[0]
    assert calm.get("/v1/status")["state"] == "ok"


def _event(rig: ControlRig, verdict: Verdict, stage: Stage) -> None:
    address = bytes(10) + b"\xff\xff"
    rig.put_event(
        source=address + bytes((10, 20, 10, 66)), destination=address + bytes((10, 20, 50, 10)), ethertype=0x0800,
        protocol=6, source_port=40000, destination_port=502, reason=Reason.POLICY_NO_CONDUIT, verdict=verdict,
        policy_verdict=Verdict.DROP, stage=stage, conduit=0xFFFFFFFF, source_zone=1, destination_zone=5,
        source_asset=1, destination_asset=0xFFFFFFFF, in_ifindex=1,
    )  # fmt: skip


def test_events_are_followed_and_filed(rig: ControlRig) -> None:
    """An event in the ring reaches a follower and the file, with names and both verdicts."""
    lines: list[dict[str, object]] = []

    def follow() -> None:
        connection = UnixConnection(rig.socket)
        connection.request("GET", "/v1/events?follow=1&limit=0&type=alert")
        lines.append(json.loads(connection.getresponse().readline()))
        connection.close()

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    wait_for("the follower", lambda: rig.get("/v1/status")["followers"] == 1)
    _event(rig, Verdict.DROP, Stage.ENFORCE)
    _event(rig, Verdict.ACCEPT, Stage.ALERT)
    thread.join(10)
    assert lines[0]["event_type"] == "alert"
    assert (lines[0]["verdict"], lines[0]["policy_verdict"]) == ("accept", "drop")
    assert (lines[0]["src_ip"], lines[0]["dest_port"], lines[0]["src_zone"]) == ("10.20.10.66", 502, "enterprise")
    assert lines[0]["alert"]["category"] == "POLICY_NO_CONDUIT"  # type: ignore[index]
    filed = wait_for("the file", lambda: [e for e in _filed(rig) if e["event_type"] == "conduit"])
    assert (filed[0]["verdict"], filed[0]["stage"], filed[0]["src_asset"]) == ("drop", "enforce", "office-laptop")


def _filed(rig: ControlRig) -> list[dict[str, object]]:
    path = rig.base / "log" / "events.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_slow_follower_is_dropped(rig: ControlRig) -> None:
    """A follower that reads nothing is dropped with a notice; pump and server go on."""
    connection = UnixConnection(rig.socket)
    connection.connect()
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.request("GET", "/v1/events?follow=1&limit=0")
    wait_for("the follower", lambda: rig.get("/v1/status")["followers"] == 1)
    for _ in range(20_000):
        _event(rig, Verdict.ACCEPT, Stage.ALERT)
    wait_for("its end", lambda: rig.get("/v1/status")["followers"] == 0)
    answer = connection.getresponse()
    text = answer.read()
    assert b"events.dropped_follower" in text
    connection.close()
    assert rig.get("/v1/status")["state"] == "ok"
