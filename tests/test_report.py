"""The page about a run: all in one file, with words for every picture."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, Browser

from export.metadata import manifest
from keras_resnet.errors import UsageError
from keras_resnet.figures import ACCENT, new_figure, save
from training.report import is_current, write_report
from training.runs.run import Run
from training.storage.writing import write_json

MOST_BYTES = 3 * 2**20


class Outline(HTMLParser):
    """What of a page matters to those who cannot see it, or are offline."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: Counter[str] = Counter()
        self.addresses: list[str] = []
        self.headings: list[str] = []
        self.unnamed: list[str] = []
        self._within: list[tuple[str, bool]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if found.get("id"):
            self.ids[str(found["id"])] += 1
        self.addresses += [str(found[a]) for a in ("src", "href") if a in found]
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(tag)
        named = any(named for _, named in self._within)
        alone = tag == "svg" or (tag == "img" and not found.get("alt"))
        if alone and not named:
            self.unnamed.append(tag)
        if tag not in ("meta", "img", "br"):
            said = found.get("role") == "img" and bool(found.get("aria-label"))
            self._within.append((tag, said))

    def handle_endtag(self, tag: str) -> None:
        assert self._within.pop()[0] == tag, f"</{tag}> closes something else"


def copy(run: Run, folder: Path) -> Run:
    """The run without what other tests left."""
    left = shutil.ignore_patterns("analysis", "artifacts.json", "tensorboard")
    shutil.copytree(run.path, folder, ignore=left)
    return Run(folder)


@pytest.fixture
def copied(run: Run, tmp_path: Path) -> Run:
    """The run in a folder of its own, to be changed."""
    return copy(run, tmp_path / "run")


def changed(run: Run, **values: Any) -> None:
    config = run.config
    for part, fields in values.items():
        config[part] |= fields
    write_json(run.path / "config.json", config)


def analysed(run: Run) -> None:
    """Leaves what an analysis leaves."""
    folder = run.path / "analysis"
    folder.mkdir()
    for name in ("lesions", "paths"):
        figure = new_figure(4, 3)
        figure.subplots().plot([1, 2], color=ACCENT, marker="o", clip_on=True)
        save(figure, folder / f"{name}.svg", title=name, text="It goes up.")
        write_json(folder / f"{name}.json", {"summary": f"What {name} say."})


@pytest.fixture(scope="module")
def written(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run with analyses."""
    whole = copy(run, tmp_path_factory.mktemp("report") / "run")
    analysed(whole)
    return write_report(whole)


@pytest.fixture
def page(written: Path) -> str:
    return written.read_text("utf-8")


@pytest.mark.slow
def test_the_report_is_one_file_that_asks_for_nothing(page: str) -> None:
    outline = Outline(page)
    assert all(a.startswith(("#", "data:image/png")) for a in outline.addresses)
    assert "url(" not in re.sub(r"url\(#", "", page) and "@import" not in page
    assert "default-src 'none'" in page
    assert len(page.encode()) < MOST_BYTES


def test_every_picture_has_words_and_every_name_is_there_once(page: str) -> None:
    outline = Outline(page)
    assert outline.unnamed == []
    assert page.count("<svg") == 9  # curves, confusion, calibration, walk, analyses
    assert set(outline.ids.values()) == {1}
    used = {a[1:] for a in outline.addresses if a.startswith("#")}
    used |= set(re.findall(r"url\(#([\w.-]+)\)", page))
    assert used <= set(outline.ids)
    assert outline.headings[:2] == ["h1", "h2"]
    assert "h4" not in outline.headings


def test_the_figures_are_those_of_the_run(page: str, run: Run) -> None:
    config = run.config
    assert f"{100 * run.evaluated['top1']:.2f} %" in page
    assert f"{config['model']['params']:,}" in page
    assert config["environment"]["system"] in page
    assert all(label in page for label in config["dataset"]["labels"])
    assert "What lesions say." in page and "What paths say." in page
    assert "var(--accent)" in page and ACCENT not in page.split("</style>")[1]


@pytest.mark.slow
def test_a_perfect_network_has_no_mistakes_to_show(copied: Run) -> None:
    assessed = json.loads(copied.assessment.read_text())
    counts = [c["support"] for c in assessed["classes"]]
    confusion = [[n * (i == j) for j, n in enumerate(counts)] for i in range(3)]
    write_json(copied.assessment, {**assessed, "mistakes": [], "confusion": confusion})
    page = write_report(copied).read_text("utf-8")
    assert "Worst mistakes" not in page and "There are no mistakes." in page


@pytest.mark.slow
def test_mistakes_are_shown_as_images(copied: Run) -> None:
    assessed = json.loads(copied.assessment.read_text())
    mistake = {"index": 3, "path": None, "label": "class0", "predicted": "class2"}
    mistake |= {"probability": 0.987}
    assessed["mistakes"] = [mistake, mistake | {"path": "/photos/class0/IMG <3>.jpg"}]
    write_json(copied.assessment, assessed)
    page = write_report(copied).read_text("utf-8")
    assert 'alt="Image 3: class0, predicted as class2" class="small"' in page
    assert "99&nbsp;% confidence" in page and page.count("data:image/png") == 18
    assert "<br>image 3</figcaption>" in page
    assert '"/photos/class0/IMG &lt;3&gt;.jpg">IMG &lt;3&gt;.jpg</span>' in page


@pytest.mark.slow
def test_exported_artifacts_are_a_table(copied: Run) -> None:
    found = {"largest": 1e-6, "agreement": 1.0, "accuracy": 0.5}
    runtimes = {
        "litert": {"version": "2", "latency": 0.00123, "pixels": found},
        "openvino": {"version": "3", "pixels": found},
    }
    file = copied.path.parent / "a.tflite"
    file.write_text("a model")
    manifest.write(file, {})
    artifact = {
        **{"path": "a.tflite", "format": "TFLite", "size": 2**20, "same": False},
        **{"manifest": manifest.fingerprint(file), "runtimes": runtimes},
    }
    write_json(copied.path / "artifacts.json", {"a": artifact})
    page = write_report(copied).read_text("utf-8")
    for said in ("a.tflite", ">1.00<", ">1.23<", ">–<", ">1.0e-06<", ">no<"):
        assert said in page, said


@pytest.mark.parametrize("kind", ["a file", "a folder"])
def test_no_proof_outlives_its_artifact(kind: str, tmp_path: Path) -> None:
    path = file = tmp_path / "artifact"
    if kind == "a folder":
        path.mkdir()
        file = path / "graph"
    file.write_text("a model")
    manifest.write(path, {"compute": "float32"})
    artifact = {"manifest": manifest.fingerprint(path)}
    assert is_current(artifact)
    assert not is_current({}), "as an older version left it"
    manifest.write(path, {"compute": "bf16"})
    assert not is_current(artifact), "another artifact"
    manifest.write(path, {"compute": "float32"})
    file.unlink()
    assert not is_current(artifact), "no artifact"
    manifest.location(path).unlink()
    assert not is_current(artifact), "no manifest"


@pytest.mark.slow
def test_many_classes_of_data_that_is_gone(copied: Run) -> None:
    names = [f"class $x$ <{i}>" for i in range(50)]
    changed(copied, dataset={"labels": names, "name": "folder:/data/photos"})
    assessed = json.loads(copied.assessment.read_text())
    row = {"support": 2, "recall": 0.5, "precision": None}
    write_json(
        copied.assessment,
        assessed
        | {
            "classes": [row | {"label": name} for name in names],
            "confusion": [
                [int(j == (i + i % 2) % 50) for j in range(50)] for i in range(50)
            ],
            "mistakes": [
                {
                    "index": 0,
                    "path": "/data/a<b.png",
                    "label": names[0],
                    "predicted": names[1],
                    "probability": 0.9,
                }
            ],
        },
    )
    page = write_report(copied).read_text("utf-8")
    outline = Outline(page)
    assert outline.unnamed == [] and "resnet20_cifar on photos" in page
    assert "All 50 classes" in page and "Most frequent mistakes" in page
    assert "must be the data that" in page and "data:image" not in page
    assert "&lt;49&gt;" in page and "<49>" not in page


@pytest.mark.slow
def test_a_run_of_an_older_version_is_assessed_now(copied: Run) -> None:
    copied.assessment.unlink()
    config = copied.config
    del config["environment"]
    write_json(copied.path / "config.json", config)
    rows = copied.history.read_text().splitlines()
    columns = rows[0].split(",")
    drop = columns.index("waiting")
    kept = [",".join(v for i, v in enumerate(r.split(",")) if i != drop) for r in rows]
    copied.history.write_text("\n".join(kept) + "\n")
    page = write_report(copied).read_text("utf-8")
    assert "calibration error" in page and "waiting for data" not in page
    assert copied.assessment.is_file()


def test_an_unfinished_run_has_no_report(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.create({"recipe": {}})
    with pytest.raises(UsageError, match="run must be complete"):
        write_report(run)
    assert not run.report.exists()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium: apt-get install chromium")
    with Browser() as made:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "dark"), [(320, False), (390, True), (1280, False), (1280, True)]
)
def test_the_report_in_a_browser(
    browser: Browser, written: Path, width: int, dark: bool
) -> None:
    browser.open(written, width, dark=dark)
    assert {r.partition(":")[0] for r in browser.requests} <= {"file", "data"}
    assert [r for r in browser.requests if r.startswith("file")] == [written.as_uri()]
    assert browser.said == []
    # What is wide scrolls in its own box.
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    broken = "[...document.images].filter(i => !i.naturalWidth).length"
    assert browser.evaluate(broken) == 0
    style = "getComputedStyle(document.body)"
    ground, ink = (
        luminance(browser.evaluate(f"{style}.{name}"))
        for name in ("backgroundColor", "color")
    )
    assert (ground < ink) == dark
    assert contrast(ground, ink) > 7
    for chosen in ("svg text", "figcaption", "dl.figures dt", "thead th", "nav a"):
        name = "fill" if chosen.startswith("svg") else "color"
        colours = browser.evaluate(
            f"[...document.querySelectorAll('{chosen}')]"
            f".filter(e => !e.closest('svg') || e.textContent.length > 2)"
            f".map(e => getComputedStyle(e).{name})"
        )
        assert colours
        assert min(contrast(ground, luminance(c)) for c in colours) > 4.5, chosen


def luminance(colour: str) -> float:
    """Relative luminance of ``rgb(…)``, as WCAG 2 defines it."""
    channels = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    ]
    return float(
        sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    )


def contrast(one: float, other: float) -> float:
    light, dark = max(one, other), min(one, other)
    return (light + 0.05) / (dark + 0.05)
