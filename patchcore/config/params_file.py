"""The text of params.yaml: every parameter of `patchcore.config.params` with its default and its description."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from patchcore.config.params import Params, parameters, parse_params

_HEADING = "# Every number that can change a result, one block a stage. A key that is left out has its default.\n"
_COMMENT_COLUMN = 30
_INDENT = "  "


def params_text(categories: Sequence[str] = ()) -> str:
    """Return params.yaml with every parameter at its default, each with its description.

    Example:
        >>> print(params_text(["bottle"]).splitlines()[2])
        categories: [bottle]            # `patchcore add` writes here
    """
    lines, last = [_HEADING], None
    for block, key, field in parameters():
        if block and block != last:
            lines.append(f"\n{block}:\n")
        last = block
        value = list(categories) if key == "categories" else field.default
        lines.append(("" if block else "\n") + _line(block, key, value, field.description))
    return "".join(lines)


def with_missing_keys(text: str, path: Path) -> str:
    """Return the text of a params.yaml with the keys that it leaves out at their defaults; all else is unchanged.

    A missing key is added before the next key that is present, or at the end of its block; a missing block is added at
    the end of the file. Blocks in braces are unchanged.

    Args:
        text: What is there.
        path: The file that errors name.

    Raises:
        InvalidParams: It is not YAML, has an unknown key, or holds a value out of range.
    """
    before = parse_params(text, path)
    document = _positions(text)
    if document is None:  # comments alone
        return f"{text.rstrip()}\n\n{params_text()}".lstrip()
    if _is_in_braces(document):
        return text
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    behind_all = next((place for place, line in enumerate(lines) if line.rstrip() == "..."), len(lines))
    inserted: dict[int, list[str]] = {}
    known = list(parameters())
    for block in dict.fromkeys(block for block, _, _ in known):
        fields = [(key, field) for of, key, field in known if of == block]
        new = {key: _line(block, key, field.default, field.description) for key, field in fields}
        if not block:
            if "categories" not in document:
                first = min(document.lc.key(key)[0] for key in document)
                inserted.setdefault(_above_comments(lines, first), []).append(new["categories"] + "\n")
        elif block not in document:
            inserted.setdefault(behind_all, []).append(f"\n{block}:\n" + "".join(new.values()))
        elif not _is_in_braces(document[block]):
            _fill(lines, inserted, document, block, new)
    result = "".join("".join(inserted.get(place, ())) + line for place, line in enumerate([*lines, ""]))
    return result if parse_params(result, path) == before else text


def with_category(text: str, path: Path, category: str) -> str:
    """Return the text of a params.yaml with one category more; comments and the order of keys stay.

    Args:
        text: What is there.
        path: The file that errors name.
        category: The name.

    Raises:
        InvalidParams: It is not YAML, has an unknown key, or holds a value out of range.
    """
    present = parse_params(text, path).categories
    if category in present:
        return text
    document = _positions(text)
    if document is None or "categories" not in document:
        added = _line("", "categories", (category,), Params.model_fields["categories"].description)
        return f"{added}\n{text}" if document is None else _with_categories(text, (category,))
    return _with_categories(text, (*present, category))


def _with_categories(text: str, categories: Sequence[str]) -> str:
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedSeq
    from ruamel.yaml.representer import RoundTripRepresenter

    class WithNull(RoundTripRepresenter):
        """Writes `null` where the library would write nothing at all."""

    WithNull.add_representer(type(None), lambda writer, _: writer.represent_scalar("tag:yaml.org,2002:null", "null"))
    yaml = YAML()
    yaml.Representer = WithNull
    yaml.width = 120
    yaml.preserve_quotes = True
    document = yaml.load(text)
    if "categories" not in document:
        document.insert(0, "categories", CommentedSeq())
    listed = document["categories"]
    listed.extend(category for category in categories if category not in listed)
    listed.fa.set_flow_style()  # [bottle, cable] on the line of the key, before its comment
    stream = io.BytesIO()
    yaml.dump(document, stream)
    return stream.getvalue().decode()


def _fill(
    lines: Sequence[str], inserted: dict[int, list[str]], document: Any, block: str, new: Mapping[str, str]
) -> None:
    """Note for each key that a block leaves out which line it goes before."""
    present = document[block]
    column = min(present.lc.key(key)[1] for key in present)
    end = _end_of(lines, document, block)
    order = list(new)
    for place, key in enumerate(order):
        if key in present:
            continue
        following = [present.lc.key(other)[0] for other in order[place + 1 :] if other in present]
        line = _above_comments(lines, min(following)) if following else end
        inserted.setdefault(line, []).append(" " * column + new[key].removeprefix(_INDENT))


def _above_comments(lines: Sequence[str], line: int) -> int:
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
    return line


def _end_of(lines: Sequence[str], document: Any, block: str) -> int:
    """Return the number of the line behind the last one of a block."""
    start = document.lc.key(block)[0]
    after = [line for line in (document.lc.key(key)[0] for key in document) if line > start]
    end = min(after, default=len(lines))
    while end > start + 1 and (not lines[end - 1].strip() or lines[end - 1].startswith(("#", "..."))):
        end -= 1
    return end


def _positions(text: str) -> Any:
    """Return the document with the line and column of each key."""
    from ruamel.yaml import YAML

    return YAML().load(text)


def _is_in_braces(mapping: Any) -> bool:
    return not mapping or bool(mapping.fa.flow_style())


def _line(block: str, key: str, value: object, description: str | None) -> str:
    """Return the line of a parameter."""
    written = f"{_INDENT if block else ''}{key}: {_scalar(value)}"
    return f"{written.ljust(_COMMENT_COLUMN)}  # {description}\n"


def _scalar(value: object) -> str:
    """Return a value as YAML on one line; text is quoted where it would be read as something else."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_scalar, value))}]"
    if not isinstance(value, str):
        return json.dumps(value)
    from ruamel.yaml import YAML

    plain = value and all(sign.isalnum() or sign in "._-" for sign in value)
    return value if plain and YAML(typ="safe", pure=True).load(value) == value else json.dumps(value)


if __name__ == "__main__":  # `make format`: the repository's own file
    file = Path(__file__).resolve().parents[2] / "params.yaml"
    kept = parse_params(file.read_text(encoding="utf-8"), file).categories if file.is_file() else ()
    file.write_text(params_text(kept), encoding="utf-8")
