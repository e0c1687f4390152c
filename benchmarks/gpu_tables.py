"""Writes the results of gpu.py as Markdown."""

from typing import Any

from rows import Outcome

# The bare steps that the runs of training.fit are compared with.
BARE = {"resnet50": "resnet50", "fast_cifar": "resnet20_fashion"}
NOTES = """\
Images a second: median (best). A bare step is SGD with momentum on one batch on the
device, ten at a time; candidates take turns. PyTorch runs channels last, and bfloat16
by autocast; "compiled" is torch.compile. float32 convolutions use TF32 where the
backend does by default, as both do on recent GPUs. "–" was not measured; torchvision
has no networks for 32×32."""


def markdown(facts: dict[str, Any], outcomes: list[Outcome]) -> str:
    """Returns the tables: bare steps, runs of training.fit, and all commands."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for step in (step for outcome in outcomes for step in outcome.get("steps", ())):
        found.setdefault((step["network"], step["precision"]), {})[step["kind"]] = step
    title = "# Training on a GPU"
    warning = ["A rehearsal with tiny sizes: the figures mean nothing.", ""]
    lines = [title, "", *warning * facts["rehearsal"], facts["machine"], ""]
    lines += ["## Bare training steps", "", NOTES, ""]
    lines += _table(
        "network, precision, batch, residual-keras, torchvision, compiled, "
        "/ torchvision, / compiled, MiB residual-keras, MiB torchvision, MiB compiled",
        [_step_cells(*names, kinds) for names, kinds in found.items()],
    )
    lines += ["", "## training.fit as a whole, bfloat16", ""]
    runs = [outcome for outcome in outcomes if "fit" in outcome]
    lines += _table(
        "run, images a second, / bare step, waiting for data, MiB, epochs, top-1, "
        "seconds in all",
        [_fit_cells(outcome, found) for outcome in runs],
    )
    lines += ["", "## Commands", ""]
    lines += _table("measurement, status, seconds, command", map(_command, outcomes))
    return "\n".join(lines) + "\n"


def _table(names: str, rows: Any) -> list[str]:
    head = names.split(", ")
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _step_cells(name: str, precision: str, kinds: dict[str, Any]) -> list[str]:
    steps = [kinds.get(kind) for kind in ("ours", "eager", "compiled")]
    batch = next(str(step["batch"]) for step in steps if step)
    cells = [name, precision, batch, *map(_rate, steps)]
    cells += [_ratio(steps[0], peer) for peer in steps[1:]]
    return cells + [f"{step['memory_mib']:,.0f}" if step else "–" for step in steps]


def _fit_cells(outcome: Outcome, found: dict[tuple[str, str], Any]) -> list[str]:
    run, name = outcome["fit"], outcome["name"].split()[-1]
    bare = found.get((BARE[name], "bfloat16"), {}).get("ours")
    return [
        *(name, _rate(run), _ratio(run, bare), f"{run['waiting']:.0%}"),
        *(f"{run['memory_mib']:,.0f}", str(run["epochs"]), f"{run['top1']:.2%}"),
        _seconds(outcome),
    ]


def _command(outcome: Outcome) -> list[str]:
    status = [outcome["status"]]
    failures = outcome.get("failures", {})
    status += [f"{name} failed: {reason}" for name, reason in failures.items()]
    status += outcome.get("error", "").strip().splitlines()[-1:]
    text = "; ".join(status).replace("|", "\\|")
    return [outcome["name"], text, _seconds(outcome), f"`{outcome['command']}`"]


def _seconds(outcome: Outcome) -> str:
    return f"{outcome['seconds']:.0f}" if "seconds" in outcome else "–"


def _rate(figures: dict[str, Any] | None) -> str:
    if not figures or "median" not in figures:
        return "–"
    return f"{figures['median']:,.1f} ({figures['best']:,.1f})"


def _ratio(mine: dict[str, Any] | None, peer: dict[str, Any] | None) -> str:
    if not mine or not peer or "median" not in mine:
        return "–"
    return f"{mine['median'] / peer['median']:.2f}×"
