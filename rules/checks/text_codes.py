"""Codes of mistakes in the text itself, one line each; the message of each mistake says what is wrong where.

They are found while loading (`tree`, `load`, `references`, `values` and others). None can be waived, none has a page.
"""

from __future__ import annotations

from typing import Final

TEXT_CODES: Final[dict[str, str]] = {
    "POL001": "the file can't be read",
    "POL002": "the file is larger than a policy may be",
    "POL003": "not UTF-8",
    "POL004": "a character that can't stand in a text",
    "POL005": "not YAML as policies use it",
    "POL006": "a key twice",
    "POL007": "aliases that multiply",
    "POL008": "nested too deeply",
    "POL010": "an unknown key",
    "POL011": "a key is missing",
    "POL012": "a value of the wrong form",
    "POL013": "not an IP address",
    "POL014": "not a prefix",
    "POL015": "not a MAC address",
    "POL016": "not a VLAN id",
    "POL017": "not a port",
    "POL018": "not an ICMP type, IP protocol number or EtherType that a service may name",
    "POL019": "not a name",
    "POL020": "not one of the words or numbers that belong here",
    "POL021": "a service whose keys don't go together",
    "POL022": "a selector that selects nothing, or mixes groups with others",
    "POL023": "not a rate, or a limit that limits nothing",
    "POL024": "a denial that says nothing",
    "POL030": "an unknown zone",
    "POL031": "an unknown asset",
    "POL032": "an unknown role",
    "POL033": "an unknown service",
    "POL041": "an unknown window",
    "POL042": "an unknown cycle",
    "POL043": "a role that the section `roles` does not declare",
    "POL044": "a waiver at something that is not there",
    "POL045": "a circle of parents or service groups",
    "POL046": "not a day of the week",
    "POL047": "not a time of day",
    "POL048": "not a date or local time",
    "POL049": "not a duration",
    "POL050": "not a time zone's name",
    "POL051": "not a recurrence",
    "POL052": "an end that is not after its beginning",
    "POL053": "a window that never opens, or a cycle that never comes",
    "POL054": "not the path of a file beside the policy",
    "POL055": "not the code of a check",
    "POL066": "a delimiter that can't separate cells",
}
