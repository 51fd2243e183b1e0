"""Fill the reference pages with what the code says.

A page has a line ``<!-- generated: NAME -->`` where the section of that name goes. So a command, a parameter, an error
or a decision that is added appears on the site without a change of any page.
"""

import json
import re
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]
_MARKER = re.compile(r"^<!-- generated: ([a-z-]+) -->$", re.MULTILINE)
SCHEMAS = _ROOT / "docs/reference/schemas"
DECISIONS = _ROOT / "docs/decisions"


def fill(markdown: str) -> str:
    """Return the text of a page with its markers replaced."""
    return _MARKER.sub(lambda marker: "\n".join(SECTIONS[marker[1]]()), markdown)


def commands() -> Iterator[str]:
    """Yield the command line, command by command, as typer documents it."""
    import typer
    from typer.cli import get_docs_for_click

    from patchcore.cli.app import app

    group: Any = typer.main.get_command(app)
    context = typer.Context(group, info_name="patchcore")
    yield from ("| command | what it does |", "|---|---|")
    for name, command in _leaves(group, ()):
        summary = (command.help or "").split("\n\n")[0].replace("\n", " ")
        yield f"| [`patchcore {' '.join(name)}`](#patchcore-{'-'.join(name)}) | {_cell(summary)} |"
    yield ""
    text = unescape(get_docs_for_click(obj=group, ctx=context, name="patchcore"))
    text = re.sub(r"^(Example|Exit codes): (.+)$", _epilog, text, flags=re.MULTILINE)
    # The page has a title and a table of the commands already.
    yield text[text.index("## `patchcore ") :]


def _epilog(line: re.Match[str]) -> str:
    return f"**{line[1]}**: " + (f"`{line[2]}`" if line[1] == "Example" else line[2])


def _leaves(group: Any, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        if hasattr(command, "list_commands"):
            yield from _leaves(command, (*above, name))
        elif not command.hidden:
            yield (*above, name), command


def parameters() -> Iterator[str]:
    """Yield a table for each block of params.yaml: key, type, default, meaning."""
    from patchcore.config.params import Params

    comments = _comments((_ROOT / "params.yaml").read_text(encoding="utf-8"))
    schema = Params.model_json_schema(by_alias=True)
    for block, field in schema["properties"].items():
        kind = _resolved(field, schema)
        yield from ("", f"## `{block}`", "")
        if "properties" not in kind:
            yield from (_words(field.get("description") or comments.get(block, "")), "")
            yield from (f"Type: {_kind(field, schema)}. Default: `{json.dumps(field.get('default'))}`.", "")
            continue
        yield from (_words(kind.get("description", "").split("\n\n")[0]), "")
        yield from ("| key | type | default | meaning |", "|---|---|---|---|")
        for name, value in kind["properties"].items():
            meaning = value.get("description") or comments.get(f"{block}.{name}", "")
            default = json.dumps(value.get("default"), ensure_ascii=False)
            yield f"| `{name}` | {_kind(value, schema)} | `{_cell(default)}` | {_cell(_words(meaning))} |"


def _comments(text: str) -> dict[str, str]:
    """Return the comment behind each key of params.yaml, by ``block.key``."""
    found, block = {}, ""
    for line in text.splitlines():
        match = re.match(r"(\s*)([a-z_0-9]+):(.*?)(?:\s#\s*(.*))?$", line)
        if match:
            block = block if match[1] else match[2]
            found[f"{block}.{match[2]}" if match[1] else block] = match[4] or ""
    return found


def _kind(field: dict[str, Any], schema: dict[str, Any]) -> str:
    """Return the type of a field in words: what a person may write."""
    if "$ref" in field:
        return _kind(_resolved(field, schema), schema)
    if "anyOf" in field:
        return " or ".join(_kind(each, schema) for each in field["anyOf"])
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field.get("type") == "array":
        inner: dict[str, Any] = field.get("items") or next(iter(field.get("prefixItems", ())), {})
        count = f"{field['minItems']} of " if field.get("minItems") == field.get("maxItems") is not None else "list of "
        return f"{count}{_kind(inner, schema)}"
    words = {"integer": "integer", "number": "number", "string": "text", "boolean": "`true`, `false`", "null": "`null`"}
    bounds = [
        f"{sign} {field[key]:g}"
        for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
        if key in field
    ]
    return " ".join((words.get(field.get("type", ""), "text"), ", ".join(bounds))).strip()


def _resolved(field: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = field.get("$ref") or next((each["$ref"] for each in field.get("allOf", ()) if "$ref" in each), None)
    found: dict[str, Any] = schema["$defs"][reference.rsplit("/", 1)[1]] if reference else field
    return found


def errors() -> Iterator[str]:
    """Yield every error code with its exit code and meaning."""
    from patchcore.errors import error_types

    yield from ("| code | exit code | class | meaning |", "|---|---|---|---|")
    for code, kind in sorted(error_types().items(), key=lambda entry: (entry[1].exit_code, entry[0])):
        meaning = (kind.__doc__ or "").split("\n\n")[0]
        yield f"| `{code}` | {kind.exit_code} | `{kind.__name__}` | {_cell(_words(meaning))} |"


def environment() -> Iterator[str]:
    """Yield every environment variable with its meaning and default."""
    from patchcore.config.settings import variables

    yield from ("| variable | meaning | default |", "|---|---|---|")
    for variable in sorted(variables(), key=lambda each: (not each.name.startswith("PATCHCORE_"), each.name)):
        yield f"| `{variable.name}` | {_cell(_words(variable.description))} | {_cell(variable.default)} |"


def python_api() -> Iterator[str]:
    """Yield the public names of the library, by package, for autodoc to describe."""
    import inspect

    import patchcore

    package = ""
    names = [
        name for name in patchcore.__all__ if not (name.startswith("_") or inspect.ismodule(getattr(patchcore, name)))
    ]
    for thing in sorted((getattr(patchcore, name) for name in names), key=lambda each: each.__module__.split(".")[1]):
        if package != thing.__module__.split(".")[1]:
            package = thing.__module__.split(".")[1]
            yield from ("", f"## `patchcore.{package}`", "")
        kind = "autofunction" if inspect.isfunction(thing) else "autoclass"
        kind = "autoexception" if inspect.isclass(thing) and issubclass(thing, Exception) else kind
        yield from ("```{eval-rst}", f".. {kind}:: {thing.__module__}.{thing.__qualname__}")
        yield from (*(["   :members:"] if kind == "autoclass" else []), "```")


def schemas() -> Iterator[str]:
    """Yield a table of the keys of every command's JSON, one of each object in it, and a link to the schema."""
    for file in sorted(SCHEMAS.glob("*.json")):
        schema = json.loads(file.read_text(encoding="utf-8"))
        yield from ("", f"## `{file.stem.replace('_', ' ')}`", "")
        yield from _json_object(schema)
        for name, kind in schema.get("$defs", {}).items():
            if "properties" in kind and name != "ErrorReport":  # the page describes that once
                yield from ("", f"**`{name}`**", "")
                yield from _json_object(kind)
        yield from ("", f"[JSON Schema](schemas/{file.name})", "")


def _json_object(schema: dict[str, Any]) -> Iterator[str]:
    if "description" in schema:
        yield from (_words(schema["description"].split("\n\n")[0]), "")
    yield from ("| key | type | meaning |", "|---|---|---|")
    for name, field in schema.get("properties", {}).items():
        yield f"| `{name}` | {_cell(_json_kind(field))} | {_cell(_words(field.get('description', '')))} |"


def _json_kind(field: dict[str, Any]) -> str:
    if "$ref" in field:
        return f"`{field['$ref'].rsplit('/', 1)[1]}`"
    if "anyOf" in field:
        return " or ".join(_json_kind(each) for each in field["anyOf"])
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field.get("type") == "array":
        return f"array of {_json_kind(field.get('items', {}))}"
    return str(field.get("const") or field.get("type", "any"))


def decisions() -> Iterator[str]:
    """Yield a table of the decisions, newest last."""
    yield from ("| number | decision | status | date |", "|---|---|---|---|")
    for file in sorted(DECISIONS.glob("[0-9]*.md")):
        text = file.read_text(encoding="utf-8")
        title = re.search(r"^# (\d+)\. (.+)$", text, re.MULTILINE)
        facts = dict(re.findall(r"^- (Status|Date): (.+)$", text, re.MULTILINE))
        if title is None or len(facts) != 2:
            raise ValueError(f"{file}: a decision needs a title with its number, a status and a date")
        yield f"| {title[1]} | [{title[2]}]({file.name}) | {facts['Status']} | {facts['Date']} |"


def _words(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


SECTIONS: dict[str, Callable[[], Iterator[str]]] = {
    "commands": commands,
    "decisions": decisions,
    "environment": environment,
    "errors": errors,
    "parameters": parameters,
    "python-api": python_api,
    "schemas": schemas,
}
