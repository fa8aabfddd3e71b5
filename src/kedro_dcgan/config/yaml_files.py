"""Checks of the YAML files in `conf/` before they are loaded and before their interpolations are resolved.

PyYAML and OmegaConf report a fault in several lines, some without the name of the file, and take hours over a file of
a few hundred bytes whose aliases or interpolations multiply. Here, each fault is one line with the file and the line.
Files are parsed with the safe loader, and nothing is constructed.
"""

import re
from collections.abc import Hashable
from typing import Any

import yaml

from kedro_dcgan.errors import ParameterError

# libyaml's parser is 50 times faster, but not part of every build of PyYAML.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MAX_BYTES, _MAX_NODES, _MAX_DEPTH = 1_000_000, 100_000, 50
_MAX_INTERPOLATIONS = 10_000
_STANDARD_TAGS = ("null", "bool", "int", "float", "str", "seq", "map", "merge", "timestamp")
# The key in ${key}, and in resolvers that look one up, such as ${oc.select:key}.
_REFERENCE = re.compile(r"\$\{\s*(?:oc\.[\w.]+:\s*)?([^\s{}:'\",$]+)")
# A key that is itself interpolated; a default after a comma may be.
_NESTED = re.compile(r"\$\{[^},]*\$\{")


def check_yaml(content: bytes, file: str) -> None:
    """Check a file: UTF-8, valid YAML with a group of keys on top, no duplicate key, no tag, bounded aliases.

    Raises:
        ParameterError: for the first fault, with the file and the line.
    """
    if len(content) > _MAX_BYTES:
        raise ParameterError(f"`{file}` must have at most {_MAX_BYTES:,} bytes (got {len(content):,}). Shorten it.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        encoding = "UTF-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else f"byte 0x{content[error.start]:02x}"
        line = content.count(b"\n", 0, error.start) + 1
        raise ParameterError(f"`{file}`, line {line}, must be UTF-8 (got {encoding}). Save it as UTF-8.") from None
    try:
        depth = 0
        for event in yaml.parse(text, _Loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:
                raise _fault(file, event, f"have at most {_MAX_DEPTH} nested levels", "Flatten it.")
        root = yaml.compose(text, _Loader)
    except yaml.MarkedYAMLError as error:
        raise ParameterError(_syntax_error(error, text, file)) from None
    except yaml.reader.ReaderError as error:
        character = chr(error.character) if isinstance(error.character, int) else error.character
        line = text.count("\n", 0, text.find(character)) + 1
        raise ParameterError(f"`{file}`, line {line}, must be plain text (got {character!r}). Delete it.") from None
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode):
        raise _fault(file, root, "start with a key", "Write KEY: VALUE.")
    _expanded_size(root, file, {})


def _fault(file: str, place: Any, rule: str, remedy: str) -> ParameterError:
    return ParameterError(f"`{file}`, line {place.start_mark.line + 1}, must {rule}. {remedy}")


def _syntax_error(error: yaml.MarkedYAMLError, text: str, file: str) -> str:
    mark = error.problem_mark or error.context_mark
    number = mark.line if mark else 0
    lines = text.split("\n")
    line = lines[min(number, len(lines) - 1)]
    remedy = "Put a value with special characters in single quotes."
    if "\t" in line[: len(line) - len(line.lstrip())]:
        remedy = "Indent it with spaces, not with tabs."
    problem = " ".join(f"{error.problem or error.context}".split())
    return f"`{file}`, line {number + 1}, must be valid YAML ({problem}: {line.strip()[:60]!r}). {remedy}"


def _expanded_size(node: yaml.Node, file: str, sizes: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """Check a node and all nodes below it; return their number and depth with all aliases expanded.

    `sizes` holds the results by the id of the node, and None for the nodes above this one.
    """
    if id(node) in sizes:
        known = sizes[id(node)]
        if known is None:
            raise _fault(file, node, "not contain itself by an alias", "Remove the alias.")
        return known
    sizes[id(node)] = None
    if node.tag.rpartition(":")[2] not in _STANDARD_TAGS or not node.tag.startswith("tag:yaml.org,2002:"):
        raise _fault(file, node, f"have no tag (got {node.tag})", "Write a plain value, or put it in single quotes.")
    children: list[yaml.Node] = node.value if isinstance(node, yaml.SequenceNode) else []
    if isinstance(node, yaml.MappingNode):
        seen: dict[Hashable, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and (first := seen.setdefault((key.tag, key.value), line)) != line:
                raise _fault(file, key, f"not repeat the key `{key.value}` of line {first}", "Remove one of them.")
        children = [child for pair in node.value for child in pair]
    below = [_expanded_size(child, file, sizes) for child in children]
    size, depth = 1 + sum(size for size, _ in below), 1 + max((depth for _, depth in below), default=0)
    if size > _MAX_NODES or depth > _MAX_DEPTH:
        rule = f"hold at most {_MAX_NODES:,} values in {_MAX_DEPTH} levels after its aliases are expanded"
        raise _fault(file, node, rule, "Use fewer aliases.")
    sizes[id(node)] = size, depth
    return size, depth


def check_interpolations(merged: dict[str, Any]) -> None:
    """Check that resolving the interpolations (`${key}`) of merged files takes a bounded number of steps.

    OmegaConf resolves `${a}` again wherever it is used, so n keys that each use the next one twice take 2^n steps.

    Raises:
        ParameterError: for the first key that takes too many steps, or whose interpolation contains another one.
    """
    costs: dict[tuple[str, ...], int] = {}

    def cost_of(path: tuple[str, ...], value: Any) -> int:
        if path in costs:
            return costs[path]
        # OmegaConf reports a circle itself.
        costs[path] = 0
        if isinstance(value, dict | list):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            cost = sum(cost_of((*path, str(key)), item) for key, item in items)
        elif isinstance(value, str) and _NESTED.search(value):
            raise ParameterError(
                f"`{'.'.join(path)}` must not contain an interpolation within another (got {value[:60]}). "
                "Write the key itself."
            )
        else:
            references = _REFERENCE.findall(value) if isinstance(value, str) else []
            targets = [_absolute(reference, path) for reference in references]
            cost = len(targets) + sum(cost_of(target, _value_at(merged, target)) for target in targets)
        if cost > _MAX_INTERPOLATIONS:
            raise ParameterError(
                f"`{'.'.join(path)}` must need at most {_MAX_INTERPOLATIONS:,} interpolations `${{...}}` (it needs "
                f"{cost:,} or more). Write the value itself."
            )
        costs[path] = cost
        return cost

    cost_of((), merged)


def _absolute(reference: str, path: tuple[str, ...]) -> tuple[str, ...]:
    """Return the path that a reference means: `a.b[0]` from the top; `.b` beside the key `path`; `..b` one above."""
    name = reference.lstrip(".")
    dots = len(reference) - len(name)
    keys = tuple(re.split(r"[.\[]", name.replace("]", "")))
    return (*path[: len(path) - dots], *keys) if dots else keys


def _value_at(merged: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if isinstance(merged, list) and key.isdigit() and int(key) < len(merged):
            merged = merged[int(key)]
        else:
            merged = merged.get(key) if isinstance(merged, dict) else None
    return merged
