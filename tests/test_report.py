"""The page about a run: all in one file, with words for every picture."""

import re

from training.report import curves, write_report
from training.runs import Run


def test_the_report_is_one_file_that_asks_for_nothing(run: Run) -> None:
    page = write_report(run).read_text()
    assert f"{100 * run.evaluated['top1']:.2f} %" in page
    assert f"{run.config['model']['params']:,}" in page
    # Names of XML vocabularies are no requests; anything else would be one.
    addresses = set(re.findall(r"""(?:src|href)\s*=\s*["']([^"'#][^"']*)""", page))
    assert not {a for a in addresses if a.startswith(("http", "//", "/"))}
    assert page.count('role="img" aria-label=') == page.count("<svg") == 3


def test_curves_say_in_words_what_they_show() -> None:
    columns = {
        "loss": [2.0, 0.5],
        "val_loss": [2.5, 0.7],
        "top1": [0.25, 0.75],
        "val_top1": [0.2, 0.7],
        "learning_rate": [0.1, 0.0],
    }
    loss, error, rate = curves(columns)
    assert "from 2 to 0.5" in loss.text and "from 2.5 to 0.7" in loss.text
    assert "from 75 to 25" in error.text
    assert "from 0.1 to 0" in rate.text
