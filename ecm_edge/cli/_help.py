"""What every `--help` has: an example that can be typed, and for a group without a command the help itself."""

from __future__ import annotations

import re

import click

_WIDTH = 74  # of a line of an example, which stands four columns from the left


def example(*commands: str) -> str:
    r"""The end of a command's help, its `epilog`: commands that a user can type.

    >>> print(example("ecm-edge targets").replace("\b", ""))
    <BLANKLINE>
    Example:
      ecm-edge targets
    """
    title = "Example:" if len(commands) == 1 else "Examples:"
    lines = [line for command in commands for line in _lines(command)]
    return "\n".join(["\b", title, *(f"  {line}" for line in lines)])


def _lines(command: str) -> list[str]:
    """A command on lines that fit, broken before an option or a `>`, with the backslash that a shell wants there."""
    lines = [""]
    for part in re.split(r" (?=-|> )", command):
        if lines[-1] and len(f"{lines[-1]} {part}") > _WIDTH:
            lines[-1] += " \\"
            lines.append("    ")
        lines[-1] += part if not lines[-1].strip() else f" {part}"
    return lines


class Group(click.Group):
    """A group that shows its help on stdout where no command is given, and ends with 0."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Click's, but that no arguments are no error."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), color=ctx.color)
            ctx.exit()
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which the commands are declared, which is that of the chain."""
        del ctx
        return list(self.commands)
