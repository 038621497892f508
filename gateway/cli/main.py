"""The command `conduitctl`: global options, the verbs, and the one place where a failure becomes text and exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from gateway.cli import (
    decode,
    drawing,
    events,
    history,
    lab,
    learn,
    listings,
    policy,
    policy_init,
    quarantine,
    readiness,
    simulate,
    stage,
    state,
    tape,
    windows,
)
from gateway.cli.failure import Failure, of_error
from gateway.cli.session import Output, Session
from gateway.errors import ExitCode, GatewayError
from gateway.settings import ControlSettings

_HOISTED: Final = {"-o": "--output", "--output": "--output", "--socket": "--socket"}
_EPILOG: Final = """\
-o and --socket may stand before or after the verb. Exit codes: 0 done, 1 internal error, 2 wrong usage,
3 refused (nothing in force has changed), 4 kernel or engine did not follow, 5 no control plane answers,
6 not permitted, 7 a capture was damaged.
"""


class Verbs(TyperGroup):
    """The top group: takes the global options anywhere, and ends a failed command in one way."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Bring global options to the front, up to `--` or the command that `lab exec` runs."""
        return super().parse_args(ctx, hoisted(args))

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except GatewayError as error:
            _end(of_error(error))
        except Failure as failure:
            _end(failure)
        except BrokenPipeError:
            sys.stderr.close()  # whoever read our output has seen enough
            raise typer.Exit(ExitCode.OK) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


def _end(failure: Failure) -> None:
    print("\n".join(failure.lines()), file=sys.stderr)
    raise typer.Exit(failure.exit_code)


def hoisted(args: list[str]) -> list[str]:
    """Return the arguments with `-o FORM` and `--socket PATH` in front."""
    front: list[str] = []
    rest: list[str] = []
    left = list(args)
    while left:
        word = left.pop(0)
        name, equals, value = word.partition("=")
        if word == "--" or (word == "exec" and rest[-1:] == ["lab"]):
            return [*front, *rest, word, *left]
        if name in _HOISTED and (equals or left):
            front += [_HOISTED[name], value if equals else left.pop(0)]
        else:
            rest.append(word)
    return front + rest


app = typer.Typer(
    cls=Verbs,
    name="conduitctl",
    help="Ask and steer conduit-gateway: zones, conduits, stages, quarantine, and what became of every frame.",
    epilog=_EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def conduitctl(
    context: typer.Context,
    output: Annotated[
        Output, typer.Option("--output", "-o", help="table for people, json for scripts, jsonl: one line each")
    ] = Output.TABLE,
    socket: Annotated[
        Path, typer.Option("--socket", help="the daemon's control socket", envvar="CONDUIT_SOCKET")
    ] = ControlSettings().socket,
) -> None:
    """Ask and steer conduit-gateway: zones, conduits, stages, quarantine, and what became of every frame."""
    context.obj = Session(socket, output)


state.register(app)
app.add_typer(stage.app, name="stage")
app.add_typer(readiness.app, name="readiness")
history.register(policy.app)
policy_init.register(policy.app)
app.add_typer(policy.app, name="policy")
simulate.register(app)
decode.register(app)
learn.register(app)
listings.register(app)
windows.register(app)
drawing.register(app)
events.register(app)
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(tape.app, name="tape")
app.add_typer(lab.app, name="lab")


if __name__ == "__main__":
    app()
