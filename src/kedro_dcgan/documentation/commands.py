"""The commands as Markdown, from click: usage, and options with their values, defaults and help."""

import inspect
from collections.abc import Iterable

import click

from kedro_dcgan.cli.command import dcgan, preset_option, verbose_option
from kedro_dcgan.cli.kedro_run import run
from kedro_dcgan.config.pages import table

# The commands for trained generators and their images have a page of their own.
_FOR_GENERATORS = (
    "compare", "directions", "evaluate-images", "explore", "inspect", "interpolate", "invert", "promote", "rollback",
    "sample", "serve",
)  # fmt: skip


def describe_run() -> str:
    """Return the table of the options of `kedro run`."""
    rows = [(_names(option), _values(option), _help(option)) for option in _options(run)]
    return table(("option", "value", "description"), rows)


def describe_common_options() -> str:
    """Return the list of the options that almost all commands of `kedro dcgan` have."""
    return _list(_common_options())


def describe_commands(for_generators: bool) -> str:
    """Return a section for each command of `kedro dcgan` for generators, or for each other one.

    Without the common options.
    """
    commands = [one for name, one in sorted(dcgan.commands.items()) if (name in _FOR_GENERATORS) == for_generators]
    return "\n".join(map(_section, commands))


def _section(command: click.Command) -> str:
    common = [option.name for option in _common_options()]
    own = [option for option in _options(command) if option.name not in common]
    missing = set(common) - {option.name for option in _options(command)}
    usage = " ".join(["kedro dcgan", str(command.name), *command.collect_usage_pieces(click.Context(command))])
    parts = [f"### {command.name}", f"`{usage}`", inspect.cleandoc(command.help or ""), _list(own).strip()]
    parts.append("It reads no configuration, so it has no `--env` and no `--conf-source`." if missing else "")
    return "\n\n".join(filter(None, parts)) + "\n"


def _common_options() -> list[click.Option]:
    # Of a command that has nothing else.
    return [*_options(click.command("any")(preset_option(lambda: None))), verbose_option]


def _options(command: click.Command) -> list[click.Option]:
    return [parameter for parameter in command.params if isinstance(parameter, click.Option)]


def _list(options: Iterable[click.Option]) -> str:
    lines = []
    for option in options:
        default = f"default: `{option.get_default(click.Context(click.Command('')))}`" if option.show_default else ""
        facts = "; ".join(filter(None, (_values(option), default, "required" if option.required else "")))
        lines.append(f"- {_names(option)}{f' ({facts})' if facts else ''}: {_help(option)}\n")
    return "".join(lines)


def _names(option: click.Option) -> str:
    return ", ".join(f"`{name}`" for name in sorted(option.opts, key=len, reverse=True))


def _help(option: click.Option) -> str:
    return " ".join((option.help or "").split())


def _values(option: click.Option) -> str:
    match option.type:
        case _ if option.is_flag:
            return ""
        case click.Choice(choices=choices):
            return ", ".join(map(str, choices))
        case click.Path() as path:
            return "folder" if not path.file_okay else "file"
        case (click.IntRange() | click.FloatRange()) as numbers:
            kind = "integer" if isinstance(numbers, click.IntRange) else "number"
            # The largest seed is 2^63 - 1.
            most = "2^63 - 1" if numbers.max == 2**63 - 1 else numbers.max
            return f"{kind}, at least {numbers.min}" if most is None else f"{kind}, {numbers.min} to {most}"
    return "text"
