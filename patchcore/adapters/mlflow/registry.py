"""The registry of bank versions in MLflow.

A category is an experiment and a registered model of the same name. A bank version is a run (what was built, from what,
and its metrics) and a version of the registered model (what scores), with the same tags. The alias ``production`` names
the version that scores, and a tag of that name on a version says since when. The ledger decides what is in production;
alias and tags follow it. A second experiment shows the events of a category: ingests, retrains, withdrawals.
"""

import json
import shutil
import tempfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from patchcore._util.files import new_folder, sha256_of
from patchcore.adapters.mlflow.connection import answering, connect, without_password
from patchcore.adapters.mlflow.events import experiment_of_events, last_logged, log_event
from patchcore.adapters.mlflow.records import BankBuild, BankVersion, EventRun
from patchcore.adapters.mlflow.run import complete_run, log_run
from patchcore.bank.format import CONFIG, read
from patchcore.config.workspace import Workspace
from patchcore.errors import InvalidBank, Refused, UnknownBank

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

__all__ = ["PRODUCTION", "BankBuild", "BankVersion", "EventRun", "Registry", "damage", "open_registry"]

PRODUCTION = "production"


def open_registry(workspace: Workspace) -> "Registry":
    """Return the registry at MLFLOW_TRACKING_URI, else the workspace's own: SQLite and a folder."""
    from patchcore.config.settings import read_settings

    if uri := read_settings().mlflow_tracking_uri:
        return Registry(uri, artifact_root=None)
    return Registry(f"sqlite:///{workspace.registry}", artifact_root=workspace.registry_artifacts)


class Registry:
    """Bank versions of all categories, in one MLflow tracking server or database.

    Args:
        tracking_uri: Where MLflow is: ``http(s)://…``, ``sqlite:///…`` or another database.
        artifact_root: Folder of the artifacts of new experiments; None: where the server keeps them.

    Every method raises ``RegistryUnavailable`` within about ten seconds if MLflow does not answer.
    """

    def __init__(self, tracking_uri: str, artifact_root: Path | None) -> None:
        self.tracking_uri = tracking_uri
        self._artifact_root = artifact_root

    def check(self) -> None:
        """Check that MLflow answers.

        Raises:
            RegistryUnavailable: It does not answer within about ten seconds.
        """
        _ = self._client

    def register(self, category: str, build: BankBuild) -> BankVersion:
        """Log a run and register the bank as a new version; the same bank again returns the version it has.

        A crash leaves at most a run without a version. The next call uses that run if it is complete, else closes it.

        Raises:
            InvalidBank: The bank's folder does not hold the bank that the build names.
            Refused: A metric is NaN or infinite.
            RegistryUnavailable: MLflow does not answer.
            Fault: A file cannot be read.
        """
        tags = build.all_tags()
        if wrong := damage(build.bank, build.bank_sha256):
            raise InvalidBank(f"the bank in {build.bank}", wrong, f"sha256 {build.bank_sha256}", "build it again")
        if known := self.find(category, build.bank_sha256):
            return known
        with answering(self.tracking_uri):
            experiment = self._experiment(category)
            run_id, model_id = complete_run(self._client, experiment, build.bank_sha256) or log_run(
                self._client, experiment, category, build
            )
            self._ensure_model(category)
            version = self._client.create_model_version(
                category,
                source=self._client.get_logged_model(model_id).artifact_location,
                run_id=run_id,
                tags=tags,
                description=build.description(category),
                model_id=model_id,
            )
            first = self.find(category, build.bank_sha256)
            if first and first.version < int(version.version):  # another process registered it at the same moment
                self._client.delete_model_version(category, str(version.version))
                return first
            # The user interface links a logged model to its versions by this tag.
            link = [{"name": category, "version": str(version.version)}]
            self._client.set_logged_model_tags(model_id, {"mlflow.modelVersions": json.dumps(link)})
        return BankVersion.from_tags(category, int(version.version), run_id, tags)

    def find(self, category: str, bank_sha256: str) -> BankVersion | None:
        """Return the version that holds this bank (the first if there are several), or None."""
        found = self._search(f"name = '{category}' and tags.bank_sha256 = '{bank_sha256}'")
        return found[0] if found else None

    def versions(self, category: str) -> list[BankVersion]:
        """Return all bank versions of a category, oldest first, without versions that a person made by hand."""
        return self._search(f"name = '{category}'")

    def version(self, category: str, number: int) -> BankVersion:
        """Return one bank version.

        Raises:
            UnknownBank: There is no version with this number.
        """
        known = {version.version: version for version in self.versions(category)}
        if number not in known:
            raise UnknownBank(
                f"no bank version {number} of {category} at {without_password(self.tracking_uri)}",
                got=str(number),
                expected=f"one of {', '.join(map(str, known)) or 'none yet'}",
                remedy="name one that exists" if known else f"make one with: patchcore retrain {category}",
            )
        return known[number]

    def alias(self, category: str) -> int | None:
        """Return the version that the alias ``production`` names, or None."""
        client = self._client  # first: MLflow reads its settings when it is imported
        from mlflow.exceptions import MlflowException

        with answering(self.tracking_uri):
            try:
                number = client.get_registered_model(category).aliases.get(PRODUCTION)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                return None
        return None if number is None else int(number)

    def set_alias(self, category: str, version: int) -> None:
        """Set the alias ``production`` to this version.

        Raises:
            UnknownBank: There is no such version.
        """
        self.version(category, version)
        with answering(self.tracking_uri):
            self._client.set_registered_model_alias(category, PRODUCTION, str(version))

    def remove_alias(self, category: str) -> None:
        """Remove the alias ``production``."""
        with answering(self.tracking_uri):
            self._client.delete_registered_model_alias(category, PRODUCTION)

    def production_tags(self, category: str) -> dict[int, str | None]:
        """Return the tag ``production`` of each bank version; None if it has none."""
        found = self._model_versions(f"name = '{category}'")
        return {int(version.version): version.tags.get(PRODUCTION) for version in found}

    def set_production_tag(self, category: str, version: int, text: str | None) -> None:
        """Set the tag ``production`` of a bank version; None removes it."""
        with answering(self.tracking_uri):
            if text is None:
                self._client.delete_model_version_tag(category, str(version), PRODUCTION)
            else:
                self._client.set_model_version_tag(category, str(version), PRODUCTION, text)

    def download_bank(self, category: str, version: int, destination: Path, *, check: bool = True) -> Path:
        """Fetch a version's bank into the folder ``destination``, whole or not at all.

        Args:
            category: The category.
            version: The bank version.
            destination: The folder; if it already holds this bank, nothing is fetched.
            check: Read the bank that was fetched and check every digest. Not needed if the caller loads it next.

        Raises:
            UnknownBank: There is no such version.
            InvalidBank: The bank that was fetched is not the one that was registered.
        """
        expected = self.version(category, version).bank_sha256
        if destination.exists() and damage(destination, expected) is None:
            return destination
        from mlflow.artifacts import download_artifacts

        with (
            answering(self.tracking_uri),
            tempfile.TemporaryDirectory() as temporary,
            new_folder(destination) as folder,
        ):
            # Not models:/…: MLflow looks that up at its global URI, not at the one given here.
            source = self._client.get_model_version_download_uri(category, str(version))
            came = download_artifacts(
                f"{source}/artifacts/bank",
                dst_path=temporary,
                tracking_uri=self.tracking_uri,
                registry_uri=self.tracking_uri,
            )
            shutil.copytree(came, folder, dirs_exist_ok=True)
            if check and (wrong := damage(folder, expected)):
                raise InvalidBank(
                    f"bank version {version} of {category} from {without_password(self.tracking_uri)}",
                    got=wrong,
                    expected=f"sha256 {expected}",
                    remedy="its artifacts were changed: restore them, or retrain",
                )
        return destination

    def last_event(self, category: str) -> int:
        """Return the number of the last ledger record about a category that has a run; 0 if none has."""
        with answering(self.tracking_uri):
            experiment = self._client.get_experiment_by_name(experiment_of_events(category))
            return last_logged(self._client, experiment.experiment_id) if experiment else 0

    def log_event(self, category: str, event: EventRun) -> str:
        """Log an event of a category as a run, once, and return the run's id."""
        with answering(self.tracking_uri):
            return log_event(self._client, self._experiment(experiment_of_events(category)), event)

    def set_note(self, category: str, name: str, text: str) -> None:
        """Set a text of the category's experiment; it replaces a text of that name."""
        with answering(self.tracking_uri):
            self._client.set_experiment_tag(self._experiment(category), name, text)

    def note(self, category: str, name: str) -> str | None:
        """Return the text of that name of the category's experiment, or None."""
        with answering(self.tracking_uri):
            experiment = self._client.get_experiment_by_name(category)
        return None if experiment is None else experiment.tags.get(name)

    @cached_property
    def _client(self) -> "MlflowClient":
        return connect(self.tracking_uri)

    def _experiment(self, name: str) -> str:
        """Return the id of an experiment; create it if there is none."""
        if experiment := self._client.get_experiment_by_name(name):
            return str(experiment.experiment_id)
        place = (self._artifact_root / name).resolve().as_uri() if self._artifact_root else None
        return str(self._client.create_experiment(name, place))

    def _ensure_model(self, category: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(category, description=f"PatchCore memory banks of {category}")
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _search(self, query: str) -> list[BankVersion]:
        found = (_bank_version(version) for version in self._model_versions(query))
        return sorted(found, key=lambda version: version.version)

    def _model_versions(self, query: str) -> "list[ModelVersion]":
        found: list[ModelVersion] = []
        token = None
        with answering(self.tracking_uri):
            while True:
                page = self._client.search_model_versions(query, page_token=token)
                found.extend(page)
                if not (token := page.token):
                    break
        return [version for version in found if "bank_sha256" in version.tags]


def _bank_version(version: "ModelVersion") -> BankVersion:
    try:
        return BankVersion.from_tags(version.name, int(version.version), version.run_id or "", version.tags)
    except (KeyError, ValueError) as error:
        raise Refused(
            f"the tags of bank version {version.version} of {version.name}",
            got=str(error),
            expected="the tags that it was registered with",
            remedy="restore them in MLflow from the tags of its run",
        ) from error


def damage(folder: Path, bank_sha256: str) -> str | None:
    """Read a bank's folder and say how it differs from the bank with this digest; None if it does not."""
    try:
        read(folder)
    except Refused as error:
        return f"a damaged bank ({error.got} instead of {error.expected})"
    actual = sha256_of(folder / CONFIG)
    return None if actual == bank_sha256 else f"sha256 {actual}"
