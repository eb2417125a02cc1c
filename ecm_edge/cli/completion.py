"""`ecm-edge completion`: the script that lets a shell complete commands, options and names."""

from __future__ import annotations

import click

from ecm_edge.cli._common import emit, json_option
from ecm_edge.cli._help import example

VARIABLE = "_ECM_EDGE_COMPLETE"
"""By this variable click knows that a shell asks; its name is that of the program."""


@click.command(
    "completion",
    epilog=example(
        "ecm-edge completion bash > ~/.local/share/bash-completion/completions/ecm-edge",
        "ecm-edge completion zsh > ~/.zfunc/_ecm-edge",
        "ecm-edge completion fish > ~/.config/fish/completions/ecm-edge.fish",
    ),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]), help="The shell that the script is for.")
@json_option
def command(shell: str, *, as_json: bool) -> None:
    """Print a script for SHELL that completes commands, options, boards, tasks, spaces, families, forms and files.

    Write it to where the shell looks for such scripts, as the examples do; make the folder first, and open a new shell
    then. bash wants its package bash-completion; without it add `eval "$(ecm-edge completion bash)"` to ~/.bashrc.
    zsh wants `fpath+=~/.zfunc` before `autoload -U compinit && compinit` in ~/.zshrc.
    """
    from click.shell_completion import get_completion_class

    from ecm_edge.cli._completion_record import CompletionRecord

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click has all three
    script = kind(click.get_current_context().find_root().command, {}, "ecm-edge", VARIABLE).source()
    record = CompletionRecord(shell=shell, script=script)
    emit(record, as_json=as_json, render=lambda: click.echo(script))
