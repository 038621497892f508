"""What a conduit permits inside, from the text to the profile: numbers, names, refusals, digest, checks."""

from __future__ import annotations

import pytest

from fastpath.abi import FIELD_NAMES, Inspector, MessageLog, Operation, Protocol, RefuseMode
from fastpath.judge import validate_image
from rules.compare import compare_texts
from rules.compile import compile_text
from rules.image import build_image
from rules.problems import PolicyError
from rules.protocols import WORDS
from rules.records import ProfileRecord, RangeRecord

HEAD = """
version: 1
site: {name: works}
zones:
  hall: {kind: supervisory, ports: [p0], prefixes: [10.1.0.0/16]}
  plant: {kind: control, ports: [p1], prefixes: [10.2.0.0/16]}
services:
  serial: {protocol: tcp, ports: [1502], inspect: modbus-rtu}
  mixed: {any_of: [{protocol: tcp, ports: [502], inspect: modbus}, {protocol: tcp, ports: [503], inspect: s7comm}]}
  half: {any_of: [{protocol: tcp, ports: [502], inspect: modbus}, {protocol: tcp, ports: [80]}]}
  both: {group: [modbus, s7]}
windows:
  nights: {weekly: {days: [mon], from: "22:00", to: "23:00"}}
conduits:
"""


def text(more: str, services: str = "modbus", others: str = "") -> str:
    """Return a policy whose conduit c says something of messages."""
    head = f"  c: {{from: {{zone: hall}}, to: {{zone: plant}}, services: [{services}], owner: me, reason: it"
    return f"{HEAD}{others}{head}, {more}}}\n"


def profile(more: str, services: str = "modbus") -> ProfileRecord:
    """Return what conduit c permits inside."""
    lowered = compile_text(text(more, services)).lowered
    validate_image(build_image(lowered, 1))
    found = lowered.conduits[0].profile
    assert found is not None
    return found


def problem(more: str, services: str = "modbus", others: str = "") -> tuple[str, int, str, str]:
    """Return code, column, message and hint of the only thing that is wrong."""
    with pytest.raises(PolicyError) as caught:
        compile_text(text(more, services, others))
    (found,) = caught.value.problems
    assert found.line == text(more, services, others).count("\n") or found.line == 10
    return found.code, found.column, found.message, found.hint


def spans(protocol: Protocol, name: str, *numbers: tuple[int, int]) -> list[RangeRecord]:
    """Return the ranges of one field."""
    return [RangeRecord(FIELD_NAMES[protocol].index(name), *span) for span in numbers]


def test_operations_alone() -> None:
    """What is named is permitted, beside what asks for nothing; nothing is constrained."""
    found = profile("operations: [read, diagnose]")
    assert found.operations == {Operation.NONE, Operation.READ, Operation.DIAGNOSE}
    assert (found.clauses, found.constrained, found.inspectors) == ((), False, {Inspector.MODBUS})
    assert (found.messages, found.every, found.refuse) == (MessageLog.NONE, 1, RefuseMode.RESET)
    assert Operation.OTHER not in profile("messages: full").operations


def test_a_clause_in_all_its_forms() -> None:
    """Numbers, ranges, lists and names; a rate as intervals; ranges sorted, those within others left out."""
    (found,) = profile(
        "constraints: {modbus: {function: [write_single_register, 0x10], address: [40, 0-9, '0x05-0x0c', 2-3], "
        "unit: 1, value: 0-1000, operation: write, step: 50, rate: 10/min burst 2}}"
    ).clauses
    assert sorted(found.ranges) == list(found.ranges)
    modbus = Protocol.MODBUS
    expected = [
        *spans(modbus, "unit", (1, 1)),
        *spans(modbus, "function", (6, 6), (16, 16)),
        *spans(modbus, "address", (0, 9), (5, 12), (40, 40)),
        *spans(modbus, "value", (0, 1000)),
    ]
    assert (list(found.ranges), found.operations) == (expected, {Operation.WRITE})
    assert (found.step, found.rate_interval_ns, found.rate_burst_ns) == (50, 6_000_000_000, 12_000_000_000)


def test_names_of_other_protocols() -> None:
    """S7 areas, CIP classes and the tags of a controller."""
    (area,) = profile("constraints: {s7comm: [{area: db, db: 1, address: 10-11, count: 2, value: 0-99}]}", "s7").clauses
    assert area.ranges[0] == RangeRecord(FIELD_NAMES[Protocol.S7COMM].index("area"), 0x84, 0x84)
    one, other = profile("constraints: {cip: [{tag: Speed, class: identity}, {tag: SPEED}]}", "enip").clauses
    assert one.ranges[0].low == 1
    assert one.ranges[1] == other.ranges[0]


def test_every_field_of_the_words_exists() -> None:
    """Widths, names and spellings are of fields that the protocol has, and names fit their field."""
    for protocol, words in WORDS.items():
        assert words.bits.keys() <= set(FIELD_NAMES[protocol])
        assert words.names.keys() | words.spelled.keys() <= words.bits.keys()
        for name, numbers in words.names.items():
            assert all(0 <= number < 1 << words.bits[name] for number in numbers.values()), (protocol, name)


@pytest.mark.parametrize(
    ("more", "code", "said", "hint"),
    [
        ("constraints: {modbus: {adress: 3}}", "POL010", "unknown key 'adress'", "address"),
        ("constraints: {modbus: {exception: 3}}", "POL010", "unknown key 'exception'", ""),
        ("constraints: {modbus: {address: 9-3}}", "POL077", "'9-3' runs backwards", "write 3-9"),
        ("constraints: {modbus: {address: 65536}}", "POL077", "'65536' is no address of modbus", "0 to 65535"),
        ("constraints: {modbus: {function: 0-128}}", "POL077", "'128' is no function of modbus", "0 to 127"),
        ("constraints: {modbus: {function: read_coil}}", "POL077", "'read_coil' is no function", "read_coils"),
        ("constraints: {modbus: {unit: true}}", "POL077", "'True' is no unit", "0 to 255"),
        ("constraints: {modbus: {step: 0}}", "POL077", "'0' is no step", "1 to"),
        (
            "constraints: {modbus: {address: 3, step: 5}}",
            "POL077",
            "'step' and not exactly one 'unit'",
            "name one unit",
        ),
        ("constraints: {modbus: {unit: 1-2, step: 5}}", "POL077", "'step' and not exactly one 'unit'", "a clause"),
        ("constraints: {modbus: {rate: 3}}", "POL023", "'3' is no rate", "3/s"),
        ("constraints: {modbus: []}", "POL012", "'modbus' is empty", "at least one"),
        ("constraints: {dnp3: [{}]}", "POL010", "unknown key 'dnp3'", ""),
        ("constraints: {s7comm: [{area: db}]}", "POL116", "speaks s7comm", "they speak modbus"),
        ("messages: sampled, every: 1", "POL078", "'1' is no one in so many", "2 to"),
        ("messages: full, every: 10", "POL078", "'every'", "messages: sampled"),
        ("refuse: reset", "POL078", "'refuse' is about messages", "operations"),
        ("refuse: rset, operations: read", "POL020", "'rset' is not one of silent, reset, answer", "reset"),
    ],
)
def test_what_is_refused(more: str, code: str, said: str, hint: str) -> None:
    """Each with its code, its place and a way out."""
    found = problem(more)
    assert found[0] == code
    assert said in found[2]
    assert hint in found[3]


def test_a_guarded_s7_value_says_how_long_it_is() -> None:
    """Else its bytes could be written one by one, each of them within the band."""
    for given in ("address: 10-11, value: 5", "address: 10-13, count: 2, value: 5", "count: 1-2, value: 5", "step: 5"):
        assert problem(f"constraints: {{s7comm: [{{{given}}}]}}", "s7")[0] == "POL077"
    stepped = "constraints: {s7comm: [{area: db, address: [10-11, 12-13], count: 2, step: 5}%s]}"
    assert profile(stepped % "", "s7").clauses[0].step == 5
    assert "'area'" in problem(stepped.replace("area: db", "area: [db, di]") % "", "s7")[2]
    for other, around in (("area: di, address: 11", True), ("area: flags", False), ("userdata_group: cpu", False)):
        warnings = compile_text(text(stepped % f", {{{other}}}", "s7")).warnings
        assert ("POL241" in {warning.code for warning in warnings}) is around, other
    assert problem("constraints: {cip: [{step: 5}]}", "enip")[0] == "POL010"


def test_clauses_about_a_connect_ask_nothing_of_messages() -> None:
    """Kinds of clients have names; a connect has no operation, and what other TPDUs say is no word of policies."""
    found = profile("operations: [read], constraints: {cotp: [{connection_type: [op, basic], slot: 1-2}]}", "s7")
    assert not found.constrained
    (clause,) = found.clauses
    assert (clause.protocol, clause.operations) == (Protocol.COTP, {Operation.NONE})
    assert clause.ranges == tuple(spans(Protocol.COTP, "connection_type", (2, 2), (3, 3))) + tuple(
        spans(Protocol.COTP, "slot", (1, 2))
    )
    both = "constraints: {cotp: [{rack: 0}], s7comm: [{operation: read}]}"
    assert profile(both, "s7").constrained
    assert {warning.code for warning in compile_text(text(both, "s7")).warnings} & {
        "POL236",
        "POL238",
        "POL239",
    } == set()
    alone = compile_text(text("constraints: {cotp: [{rack: 0}]}", "s7")).warnings
    assert "POL236" in {warning.code for warning in alone}
    assert problem("constraints: {cotp: [{operation: read, rack: 0}]}", "s7")[0] == "POL077"
    assert problem("constraints: {cotp: [{type: 14}]}", "s7")[0] == "POL010"
    assert problem("constraints: {cotp: [{slot: 32}]}", "s7")[0] == "POL077"


def test_services_that_nobody_reads() -> None:
    """Every number of every service has to be read; the problem names what could be."""
    for services in ("modbus, https", "half", "opcua"):
        code, _, said, hint = problem("operations: [read]", services)
        assert (code, "nobody inspects service" in said) == ("POL040", True)
        assert "modbus, modbus-rtu, s7comm, enip, enip-io" in hint
    lowered = compile_text(text("log: all", "half")).lowered
    assert (lowered.inspectors, lowered.conduits[0].profile) == ({}, None)


def test_one_number_is_read_in_one_way() -> None:
    """Two services on a port, both of inspected conduits, read alike or not at all."""
    other = "  d: {from: {zone: hall}, to: {zone: plant}, services: [rtu], operations: [read], owner: me, reason: it}\n"
    policy = text("operations: [read]", others=other).replace(
        "services:\n", "services:\n  rtu: {protocol: tcp, ports: [500-510], inspect: modbus-rtu}\n", 1
    )
    with pytest.raises(PolicyError) as caught:
        compile_text(policy.replace("500-510", '"500-510"'))
    assert [found.code for found in caught.value.problems] == ["POL117"]
    assert "tcp 502 is modbus in service 'modbus' and modbus-rtu in 'rtu'" in caught.value.problems[0].message


def test_groups_are_read_number_by_number() -> None:
    """Numbers of one service that are read differently are different classes, also side by side."""
    for services, ports in (("both", {502: Inspector.MODBUS, 102: Inspector.S7COMM}), ("mixed", {502: 1, 503: 3})):
        lowered = compile_text(text("operations: [read]", services)).lowered
        found = {span.first: lowered.inspectors[span.klass] for span in lowered.services}
        assert found == ports


def test_too_many_clauses() -> None:
    """An access is compared with one clause after the other: there is an end to that."""
    clauses = ", ".join(f"{{address: {number}}}" for number in range(257))
    assert problem(f"constraints: {{modbus: [{clauses}]}}")[0] == "POL113"
    wide = ", ".join(str(2 * number) for number in range(206))
    wider = ", ".join(f"{{unit: {unit}, address: [{wide}]}}" for unit in range(5))
    code, _, said, _ = problem(f"constraints: {{modbus: [{wider}]}}")
    assert (code, "1035 ranges" in said) == ("POL113", True)


def test_equal_profiles_are_stored_once() -> None:
    """However they are written."""
    other = (
        "  d: {from: {zone: hall}, to: {zone: plant}, services: [modbus], constraints: "
        "{modbus: [{address: [3, 5], function: 3}]}, owner: me, reason: it}\n"
    )
    policy = text("constraints: {modbus: {function: read_holding_registers, address: [5, 3, 3-3]}}", others=other)
    lowered = compile_text(policy).lowered
    assert lowered.conduits[0].profile == lowered.conduits[1].profile


BASE = "operations: [read, write], constraints: {modbus: [{unit: 1, address: 1-5, value: 7}]}"


@pytest.mark.parametrize(
    ("other", "services", "same"),
    [
        (BASE.replace("read, write", "write, read"), "modbus", True),
        (BASE.replace("1-5", "'0x1-0x5'"), "modbus", True),
        (BASE + ", refuse: reset", "modbus", True),
        (BASE.replace("1-5", "1-6"), "modbus", False),
        (BASE.replace("value: 7", "value: 7, step: 1"), "modbus", False),
        (BASE.replace("value: 7", "value: 7, rate: 1/s"), "modbus", False),
        (BASE.replace("value: 7", "value: 7, operation: write"), "modbus", False),
        (BASE.replace("read, write", "write"), "modbus", False),
        (BASE + ", refuse: answer", "modbus", False),
        (BASE + ", messages: full", "modbus", False),
        (BASE + ", messages: sampled", "modbus", False),
        (BASE + ", messages: sampled, every: 7", "modbus", False),
        (BASE, "serial", False),
    ],
)
def test_the_digest_covers_what_messages_may_do(other: str, services: str, same: bool) -> None:
    """Two texts have one digest only when the engine judges alike."""
    digests = [compile_text(text(*given)).lowered.digest for given in ((BASE,), (other, services))]
    assert (digests[0] == digests[1]) is same


def test_what_changed_is_told_in_the_text_s_own_words() -> None:
    """A comparison shows what was written, and nothing that was not."""
    old, new = (compile_text(text(f"constraints: {{modbus: {{address: {span}}}}}")).policy for span in ("1-5", "1-6"))
    (change,) = compare_texts(old, new)
    (field,) = change.fields
    assert (field.field, field.old, field.new) == (
        "constraints",
        {"modbus": [{"address": ["1-5"]}]},
        {"modbus": [{"address": ["1-6"]}]},
    )


@pytest.mark.parametrize(
    ("more", "codes"),
    [
        ("operations: [read]", set()),
        ("operations: [program]", {"POL237"}),
        ("operations: [program], windows: nights", set()),
        ("messages: full", {"POL236"}),
        ("operations: [read], constraints: {modbus: [{operation: write}]}", {"POL238"}),
        ("constraints: {modbus: [{address: 1-9}, {unit: 1, address: 2-3, step: 4}]}", {"POL239", "POL241"}),
        ("constraints: {modbus: [{address: 1-9}, {address: 1-9}]}", {"POL239"}),
        ("constraints: {modbus: [{unit: 1, address: 1-9, step: 4}, {address: 1-9}]}", {"POL239", "POL241"}),
        ("constraints: {modbus: [{unit: 1, address: 1-9, step: 4}, {address: 2-3}]}", {"POL241"}),
        ("constraints: {modbus: [{unit: 1, address: 1-9, step: 4}, {unit: 2, address: 2-3}]}", {"POL241"}),
        ("constraints: {modbus: [{unit: 1, address: 1-9, step: 4}, {unit: 2, address: 2-3, step: 9}]}", set()),
        ("constraints: {modbus: [{unit: 1, address: 1-9, step: 4}, {operation: read}]}", set()),
        ("constraints: {modbus: [{unit: 1, address: 1-9, step: 4}, {function: [3, 5]}]}", {"POL241"}),
        ("constraints: {modbus: [{unit: 1, function: 6, address: 1-9, step: 4}, {function: [3, 5]}]}", set()),
        ("constraints: {modbus: [{unit: 1, address: 1-9, step: 4}, {address: [0, 10-99]}]}", set()),
    ],
)
def test_what_is_warned_of(more: str, codes: set[str]) -> None:
    """Clauses in vain, and what nobody should do at any hour."""
    found = {warning.code for warning in compile_text(text(more)).warnings}
    assert found & {"POL236", "POL237", "POL238", "POL239", "POL241"} == codes


def test_reading_a_safety_system_changes_nothing_in_it() -> None:
    """A conduit whose messages may only read is no way to write."""

    def warned(more: str) -> bool:
        policy = text(more).replace("kind: control", "kind: safety")
        try:
            return "POL115" in {warning.code for warning in compile_text(policy).warnings}
        except PolicyError as error:
            return "POL115" in {found.code for found in error.problems}

    assert not warned("operations: [read, diagnose]")
    assert not warned("constraints: {modbus: [{operation: read}]}")
    assert warned("operations: [read, write]")
    assert warned("constraints: {modbus: [{operation: read}, {address: 3}]}")
    assert warned("messages: full")
