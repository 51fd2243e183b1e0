"""What a normal image does in a bank that is on this machine: a drawn category, its real bank, a real ledger."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from patchcore._util.files import sha256_of
from patchcore.bank.format import CONFIG, read
from patchcore.config.workspace import Workspace
from patchcore.dataset.manifest import scan
from patchcore.lifecycle import audit
from patchcore.lifecycle.dataset_records import members
from patchcore.lifecycle.services import Services, open_services
from tests.support.ledgers import add_batch, scored


@pytest.fixture
def services(copied_category: Workspace) -> Services:
    """The drawn category `part`, its bank version 1 in the ledger and in this machine's cache, one batch scored."""
    services = open_services(copied_category.root)
    manifest = scan(copied_category, "part")
    dataset = services.ledger.record_dataset(
        "part",
        manifest.sha256,
        normals=len(manifest.normals),
        evaluation_images=len(manifest.evaluation),
        pointers={},
        git_commit=None,
        who="ann",
        images=members(manifest),
    )
    bank = copied_category.bank("part")
    sha256 = sha256_of(bank / CONFIG)
    services.ledger.record_bank(
        "part",
        1,
        sha256,
        dataset_version=1,
        dataset_sha256=dataset.sha256,
        run_id="run",
        git_commit=None,
        evaluation_sha256=manifest.evaluation_sha256,
        metrics={"image_auroc": 0.97, "aupro": None},
    )
    shutil.copytree(bank, cached_bank(services))
    add_batch(services.ledger, "monday", 1, [scored("a.png"), scored("b.png", 9.0)], category="part")
    return services


def cached_bank(services: Services) -> Path:
    record = services.ledger.bank("part", 1)
    assert record is not None
    return services.workspace.bank_cache / "part" / f"1-{record.sha256[:16]}"


def parts(services: Services) -> dict[str, tuple[str | None, int | None]]:
    """Return role and rows of every normal image, by its path."""
    found: dict[str, tuple[str | None, int | None]] = {}
    for entry in scan(services.workspace, "part").normals:
        (bank,) = audit.normal(services, str(services.workspace.root / entry.path)).banks
        found[entry.path] = (bank.role, bank.rows)
    return found


def test_each_normal_image_is_remembered_with_its_rows_or_held_out(services: Services) -> None:
    config, arrays, images = read(cached_bank(services))
    found = parts(services)
    remembered = {image["path"]: number for number, image in enumerate(images)}
    for path, (role, rows) in found.items():
        expected = sum(source[0] == remembered.get(path) for source in arrays.sources.tolist())
        assert (role, rows) == ("remembered" if path in remembered else "calibration", expected)
    assert sum(rows or 0 for _, rows in found.values()) == config.coreset.rows
    assert sum(role == "calibration" for role, _ in found.values()) == config.dataset.calibration > 0


def test_an_image_leads_to_what_its_bank_let_through(services: Services) -> None:
    image = services.workspace.root / scan(services.workspace, "part").normals[0].path
    (bank,) = audit.normal(services, str(image)).banks
    assert [(entry.batch, entry.passed, entry.anomalous) for entry in bank.batches] == [("monday", 1, 1)]


def test_an_evaluation_image_is_in_no_bank(services: Services) -> None:
    value = audit.normal(services, str(services.workspace.evaluation("part") / "good" / "0.png"))
    assert value.banks == ()
    assert [entry.bank_version for entry in value.measured] == [1]


def _remove(bank: Path) -> None:
    shutil.rmtree(bank)


def _damage(bank: Path) -> None:
    images = bank / "images.json"
    images.write_text(images.read_text().replace("/good/", "/other/"))


def _swap(bank: Path) -> None:
    """Let another bank stand there, whole but not the one of the ledger."""
    from patchcore.bank.memory_bank import save

    config, arrays, images = read(bank)
    described = config.model_dump(exclude={"format", "files", "checksum"})
    save(bank, arrays, images[::-1], described)


@pytest.mark.parametrize("harm", [_remove, _damage, _swap])
def test_a_bank_that_is_not_to_be_had_says_nothing_about_the_image(
    services: Services, harm: Callable[[Path], None]
) -> None:
    harm(cached_bank(services))
    assert set(parts(services).values()) == {(None, None)}
    assert audit.bank(services, "part", 1).certificate is None


def test_the_certificate_comes_from_the_bank_on_this_machine(services: Services) -> None:
    coreset = read(cached_bank(services))[0].coreset.model_dump()
    found = audit.bank(services, "part", 1).certificate
    assert found is not None
    assert found.model_dump() == {name: coreset[name] for name in type(found).model_fields}
    assert found.rows > 0
