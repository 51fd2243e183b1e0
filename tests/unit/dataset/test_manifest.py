import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from patchcore._util.files import sha256_of
from patchcore.config.workspace import Workspace
from patchcore.dataset.manifest import read_manifest, scan, write_manifest
from patchcore.errors import Refused
from tests.support.washers import draw_washers


def draw(path: Path, level: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), level).save(path)
    return path


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    part = tmp_path / "data/part"
    for number in range(3):
        draw(part / f"train/good/{number}.png", number)
    draw(part / "test/good/a.png", 10)
    draw(part / "test/crack/b.png", 11)
    draw(part / "test/crack/c.png", 12)
    draw(part / "ground_truth/crack/b_mask.png", 255)
    draw(part / "ground_truth/crack/c.png", 254)
    return Workspace(tmp_path)


def test_every_image_is_listed_with_its_digest(workspace: Workspace) -> None:
    manifest = scan(workspace, "part")
    assert [entry.path for entry in manifest.normals] == [f"data/part/train/good/{n}.png" for n in range(3)]
    assert [entry.sha256 for entry in manifest.normals] == [
        sha256_of(workspace.root / e.path) for e in manifest.normals
    ]
    assert [(entry.label, entry.defective, entry.mask) for entry in manifest.evaluation] == [
        ("crack", True, "data/part/ground_truth/crack/b_mask.png"),
        ("crack", True, "data/part/ground_truth/crack/c.png"),
        ("good", False, None),
    ]
    for entry in manifest.evaluation:
        assert entry.mask_sha256 == (sha256_of(workspace.root / entry.mask) if entry.mask else None)
    assert manifest.has_masks


def test_written_and_read_back_it_is_the_same(workspace: Workspace, tmp_path: Path) -> None:
    manifest = scan(workspace, "part")
    write_manifest(tmp_path / "one.json", manifest)
    assert read_manifest(tmp_path / "one.json") == manifest
    write_manifest(tmp_path / "two.json", scan(workspace, "part"))
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    assert sha256_of(tmp_path / "one.json") == manifest.sha256


def test_the_place_of_the_workspace_does_not_matter(workspace: Workspace, tmp_path: Path) -> None:
    before = scan(workspace, "part")
    (tmp_path / "data").rename(tmp_path.parent / f"{tmp_path.name}-elsewhere")
    (tmp_path / "new").mkdir()
    (tmp_path.parent / f"{tmp_path.name}-elsewhere").rename(tmp_path / "new/data")
    assert scan(Workspace(tmp_path / "new"), "part") == before


@pytest.mark.parametrize(
    ("change", "normals_change", "evaluation_change"),
    [
        (lambda part: draw(part / "train/good/0.png", 99), True, False),
        (lambda part: draw(part / "train/good/9.png", 99), True, False),
        (lambda part: (part / "train/good/0.png").rename(part / "train/good/00.png"), True, False),
        (lambda part: draw(part / "test/good/a.png", 99), False, True),
        (lambda part: draw(part / "ground_truth/crack/c.png", 99), False, True),
    ],
)
def test_digests_change_with_the_content_they_name(
    workspace: Workspace, change: Callable[[Path], object], normals_change: bool, evaluation_change: bool
) -> None:
    before = scan(workspace, "part")
    change(workspace.category("part"))
    after = scan(workspace, "part")
    assert after.sha256 != before.sha256
    assert (after.normals_sha256 != before.normals_sha256) == normals_change
    assert (after.evaluation_sha256 != before.evaluation_sha256) == evaluation_change


def test_a_category_without_masks_has_none(workspace: Workspace) -> None:
    for mask in workspace.ground_truth("part").rglob("*.png"):
        mask.unlink()
    (workspace.ground_truth("part") / "README.txt").write_text("no masks")
    manifest = scan(workspace, "part")
    assert not manifest.has_masks
    assert all(entry.mask is None for entry in manifest.evaluation)


@pytest.mark.parametrize("name", ["b_mask.bmp", "b_mask.tif", "b.tiff", "b.bmp"])
def test_masks_of_every_lossless_kind_are_found(workspace: Workspace, name: str) -> None:
    folder = workspace.ground_truth("part") / "crack"
    (folder / "b_mask.png").unlink()
    draw(folder / name, 255)
    assert scan(workspace, "part").evaluation[0].mask == f"data/part/ground_truth/crack/{name}"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("crack/b_mask.png", "crack/b-mask.png"),
        ("crack/b_mask.png", "crack/b_mask.jpg"),
        ("crack/b_mask.png", "cracks/b_mask.png"),
        ("crack/b_mask.png", "b_mask.png"),
    ],
)
def test_a_mask_under_another_name_is_refused_with_the_name_that_is_expected(
    workspace: Workspace, old: str, new: str
) -> None:
    masks = workspace.ground_truth("part")
    (masks / "crack/c.png").unlink()  # no mask is left that fits: overlooked, the category would seem to have none
    (masks / new).parent.mkdir(exist_ok=True)
    (masks / old).rename(masks / new)
    with pytest.raises(Refused) as caught:
        scan(workspace, "part")
    assert str(masks / new) in caught.value.what
    assert "ground_truth/crack/b_mask.png for test/crack/b.png" in caught.value.expected


@pytest.mark.parametrize("name", ["crack/b.png", "crack/d_mask.png", "good/a_mask.png", "crack/notes.txt"])
def test_a_mask_that_is_one_too_many_is_refused(workspace: Workspace, name: str) -> None:
    extra = draw(workspace.ground_truth("part") / name.replace(".txt", ".png"), 255)
    extra = extra.rename(workspace.ground_truth("part") / name)
    with pytest.raises(Refused, match="is the mask of no defective image") as caught:
        scan(workspace, "part")
    assert str(extra) in caught.value.what


def test_a_linked_folder_of_images_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    draw(tmp_path / "elsewhere/d.png", 13)
    (workspace.good_normals("part") / "more").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused, match="good/more cannot be taken"):
        scan(workspace, "part")


def remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda part: part.rename(part.with_name("other")), "data/part holds no images: got no such folder"),
        (lambda part: remove(part / "train"), "train/good holds no images: got no such folder"),
        (lambda part: remove(part / "train/good"), "train/good holds no images: got an empty folder"),
        (lambda part: remove(part / "test"), "test holds no images"),
        (lambda part: (part / "ground_truth/crack/c.png").unlink(), "crack/c.png has no mask: got 1 of 2"),
        (lambda part: draw(part / "test/loose.png", 1), "loose.png has no label"),
    ],
)
def test_what_is_missing_is_named(workspace: Workspace, damage: Callable[[Path], object], words: str) -> None:
    damage(workspace.category("part"))
    with pytest.raises(Refused) as caught:
        scan(workspace, "part")
    assert words in str(caught.value)


@pytest.mark.parametrize("content", ["", "[]", '{"category": "part"}', '{"category": "p", "normals": [{"x": 1}]}'])
def test_a_file_that_is_no_manifest_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(content)
    with pytest.raises(Refused, match=r"manifest\.json"):
        read_manifest(path)
    path.unlink()
    with pytest.raises(Refused, match=r"manifest\.json"):
        read_manifest(path)


def test_the_file_is_plain_json(workspace: Workspace, tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.json", scan(workspace, "part"))
    value = json.loads((tmp_path / "manifest.json").read_text())
    assert sorted(value) == ["category", "evaluation", "normals"]
    assert sorted(value["evaluation"][0]) == ["label", "mask", "mask_sha256", "path", "sha256"]


def test_a_drawn_category_with_masks_is_whole(tmp_path: Path) -> None:
    draw_washers(tmp_path / "data/washer", normals=5, good=3, faulty=2)
    manifest = scan(Workspace(tmp_path), "washer")
    assert (len(manifest.normals), len(manifest.evaluation)) == (5, 9)
    assert sum(entry.mask is not None for entry in manifest.evaluation) == 6
