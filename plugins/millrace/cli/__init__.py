"""The `millrace` command: parse, call, print. Errors are one line with the cure."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from millrace.cli import check, demo, running, stack, streams
from millrace.errors import MillraceError

EPILOG = """
\b
Examples:
  millrace up                         start everything
  millrace run my_stream --wait       run a stream and watch it
  millrace runs my_stream             what ran, and how it ended
  millrace down                       stop everything

Settings come from the environment (MILLRACE_...) and from settings.env in the home folder.
"""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="millrace")
def cli() -> None:
    """Rows in Postgres become scheduled LLM batch pipelines on your own machine."""


for command in (*stack.commands, *streams.commands, *running.commands, *check.commands, demo.demo):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: exit status 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    try:
        sys.exit(cli.main(arguments, prog_name="millrace", standalone_mode=False) or 0)
    except click.exceptions.Abort:
        _fail("interrupted.", 130)
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except MillraceError as exc:
        _fail(str(exc), 1)
    except BrokenPipeError:
        # The reader of our output left (`millrace runs | head`): not an error of ours.
        sys.stderr.close()
        sys.exit(141)


def _fail(message: str, status: int) -> None:
    click.echo(f"millrace: {' '.join(message.split())}", err=True)
    sys.exit(status)
