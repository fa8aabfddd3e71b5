"""How commands end: with results, with one line that says what to mend, or stopped."""

import functools
import sys
from collections.abc import Callable
from typing import Any

import click
from kedro.framework.project import settings
from kedro.validation.exceptions import ParameterValidationError

from kedro_dcgan.cli.project import project_folder
from kedro_dcgan.errors import DcganError, ParameterError
from kedro_dcgan.hooks import TrackingHooks
from kedro_dcgan.interrupts import Interrupted, interrupted_by_signal


def errors_in_one_line(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command end with `Error: <one line>` and exit code 1 where the user can mend the cause."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            _check_environment(kwargs.get("env"))
            return command(*args, **kwargs)
        except Exception as error:
            message = _for_the_user(error)
            if message is None:
                raise
            raise click.ClickException(message) from error

    return wrapped


def interruptible(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let Ctrl-C and SIGTERM end a run as killed, in one line, with the exit code that a shell expects."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            with interrupted_by_signal():
                return command(*args, **kwargs)
        except Interrupted as interruption:
            for hook in settings.HOOKS:
                if isinstance(hook, TrackingHooks):
                    hook.interrupt()
            click.echo(str(interruption) or "stopped", err=True)
            sys.exit(interruption.exit_code)

    return wrapped


def _for_the_user(error: BaseException | None) -> str | None:
    # Kedro wraps what a dataset raises: the cause may lie some levels down.
    while error is not None:
        if isinstance(error, (DcganError, ParameterValidationError)):
            return str(error)
        # Kedro's own answers to a misspelt pipeline or node, which name the close matches.
        if isinstance(error, ValueError) and str(error).startswith(
            ("Failed to find the pipeline", "Pipeline does not")
        ):
            return " ".join(str(error).split())
        error = error.__cause__
    return None


def _check_environment(env: str | None) -> None:
    conf = project_folder() / "conf"
    if env and not (conf / env).is_dir():
        presets = sorted(folder.name for folder in conf.iterdir() if folder.is_dir() and folder.name != "local")
        raise ParameterError(f"`--env` must be a folder of conf/ (got {env}). There are: {', '.join(presets)}.")
