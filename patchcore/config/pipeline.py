"""What the dvc.yaml of a workspace must say: each stage depends on the fingerprint that the library writes for it."""

from typing import Any

from patchcore.config.workspace import Workspace
from patchcore.errors import InvalidPipeline, WorkspaceOutdated

FINGERPRINT = "fingerprint"
STAGES = ("validate", "extract", "build", "evaluate")


def read_pipeline(text: str, workspace: Workspace) -> dict[str, Any]:
    """Return the content of a dvc.yaml.

    Raises:
        InvalidPipeline: It is not YAML, or has no stages.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        found = YAML(typ="safe", pure=True).load(text)
        if not isinstance(found, dict) or not isinstance(found.get("stages"), dict):
            raise ValueError("no mapping of stages")
    except (YAMLError, ValueError) as error:
        raise InvalidPipeline(
            f"{workspace.pipeline} cannot be read",
            got=str(error),
            expected="the stages of a workspace, as YAML",
            remedy="correct it, or restore it with: git checkout dvc.yaml",
        ) from error
    return found


def check_pipeline(workspace: Workspace) -> None:
    """Refuse to run the stages of a workspace that was made by an earlier version: it would miss changes of the code.

    Raises:
        InvalidPipeline: dvc.yaml is not YAML, or has no stages.
        WorkspaceOutdated: A stage does not depend on its fingerprint.
    """
    stages = read_pipeline(workspace.pipeline.read_text(encoding="utf-8"), workspace)["stages"]
    for name in STAGES:
        fingerprint = workspace.relative(workspace.fingerprint(name))
        if FINGERPRINT not in stages or fingerprint not in (stages.get(name) or {}).get("deps", ()):
            raise WorkspaceOutdated(
                f"the workspace {workspace.root} was made by an earlier version",
                got=f"stage {name} of dvc.yaml without {fingerprint}",
                expected="the stages of this version",
                remedy="run: patchcore upgrade",
            )
