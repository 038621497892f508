"""docs/reference/api.md, cli.md and checks/, made from routes, commands and checks, so that they can't disagree.

`python -m gateway.cli.reference` writes them into the current project; a test compares them. Never used by the daemon.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import typer

from gateway.cli.main import app
from gateway.control.api.routes import Route, route_table
from gateway.errors import ExitCode
from rules.checks import explain
from rules.checks.catalogue import CHECKS

PLACE: Final = Path("docs") / "reference"
_MADE: Final = "<!-- Made by `python -m gateway.cli.reference`; change the code instead. -->\n"
_API: Final = f"""\
# The control socket

{_MADE}
HTTP and JSON over a Unix socket: `curl --unix-socket /run/conduit/control.sock http://x/v1/status`. The kernel says
who connects; `[roles]` in conduitd.toml says what they may do; a user without a role gets 403, and the attempt is an
event and a journal entry. Schemas of every request and answer: `GET /openapi.json`.

A refusal is `{{code, detail, hint, problems}}` with 400 (unreadable), 403, 404, 413 (above 64 MiB), 422 (understood and
refused) or 503 (kernel or engine did not follow); after any of them what was in force is in force unchanged.

| request | role | what | parameters |
|---|---|---|---|
"""
_CLI: Final = f"""\
# conduitctl

{_MADE}
`-o table|json` and `--socket PATH` may stand before or after the verb. Messages go to stderr.

| exit code | meaning |
|---|---|
"""


def api_page() -> str:
    """Return the page of all routes."""
    return _API + "".join(_route_row(route) for route in route_table())


def _route_row(route: Route) -> str:
    query = [f"`?{name}`" for name in route.query.model_fields]
    body = [f"`{name}`" for name in route.body.model_fields] if route.body else []
    return (
        f"| `{route.method} {route.path}` | {route.rank.name.lower()} | {route.summary} | {' '.join(query + body)} |\n"
    )


def cli_page() -> str:
    """Return the page of all commands."""
    codes = "".join(f"| {code.value} | {code.name.lower().replace('_', ' ')} |\n" for code in ExitCode)
    group: Any = typer.main.get_command(app)
    return _CLI + codes + "".join(_command_rows(group, "conduitctl"))


def _command_rows(command: Any, path: str) -> list[str]:
    if hasattr(command, "commands"):
        return [row for name, inner in command.commands.items() for row in _command_rows(inner, f"{path} {name}")]
    words = [parameter.name.upper() for parameter in command.params if parameter.param_type_name == "argument"]
    rows = [f"\n## `{' '.join([path, *words])}`\n\n{(command.help or '').strip()}\n"]
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    rows += [f"\n- `{', '.join(option.opts)}`: {option.help or ''}".rstrip(": ") for option in options]
    return [*rows, "\n"]


def check_pages() -> dict[str, str]:
    """Return the pages of the policy checks by file name."""
    pages = {f"{check.code}.md": _made_page(explain.page(check.code)) for check in CHECKS}
    return {"index.md": _made_page(explain.index()), **pages}


def _made_page(text: str) -> str:
    title, _, rest = text.partition("\n")
    return f"{title}\n\n{_MADE}{rest}"


def main() -> None:
    """Write all pages; what is in checks/ and is no page any more is removed."""
    (PLACE / "api.md").write_text(api_page(), encoding="utf-8")
    (PLACE / "cli.md").write_text(cli_page(), encoding="utf-8")
    checks = PLACE / "checks"
    checks.mkdir(exist_ok=True)
    pages = check_pages()
    for name, text in pages.items():
        (checks / name).write_text(text, encoding="utf-8")
    for path in checks.iterdir():
        if path.name not in pages:
            path.unlink()


if __name__ == "__main__":
    main()
