"""What was measured, as Markdown.

Not here: measuring. A figure is the median over the rounds; a ratio is taken within each round
first. What a report lacks is told by its name, and never taken for 0. Tested by test_report.py.
"""

import os
import platform
import re
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from servers import ROOT, Unfit, said

# What must be in every report; none of it may happen.
FAULTS = ["lost", "duplicated", "reordered", "unknown", "connections_ended"]
# The same, told by newer clients only.
NEWER_FAULTS = ["damaged", "warm_up_lost"]
# Share of a core above which a client that does not say so itself counts as the bottleneck.
BUSY_CORES = 0.9
MEMORY = "memory at rest"


@dataclass(frozen=True)
class Missing:
    """A run that came to nothing, and why."""

    why: str


@dataclass(frozen=True)
class Run:
    """One run of one server."""

    cpu_us: float
    user_us: float
    client_is_bottleneck: bool
    faults: dict
    """By name, those that happened."""

    @classmethod
    def of(cls, report):
        """Reads the client's report; raises `Unfit` where it lacks something."""
        if number(report, "deliveries") == 0:
            raise Unfit("`deliveries` is 0: nothing was measured")
        faults = {name: number(report, name) for name in FAULTS}
        faults |= {name: number(report, name) for name in NEWER_FAULTS if name in report}
        busy = number(report, "client", "cores") > BUSY_CORES
        return cls(
            cpu_us=number(report, "server", "cpu_us_each"),
            user_us=number(report, "server", "user_us_each"),
            client_is_bottleneck=report.get("client_is_bottleneck", busy),
            faults={name: count for name, count in faults.items() if count},
        )


@dataclass(frozen=True)
class Look:
    """One look at one server's memory."""

    bytes_each: float
    kept_bytes: float

    @classmethod
    def of(cls, report):
        """Reads the client's report; raises `Unfit` where it lacks something."""
        return cls(number(report, "bytes_per_connection"), number(report, "kept_bytes"))


def number(report, *path):
    """A number that must be there."""
    value = report
    for key in path:
        if not isinstance(value, dict) or key not in value:
            raise Unfit(f"`{'.'.join(path)}` is missing")
        value = value[key]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Unfit(f"`{'.'.join(path)}` is {value!r}")
    return value


def quantile(values, percent):
    """The value below which so many percent of them lie; between two, the mean of both."""
    place = percent * (len(values) - 1)
    ordered = sorted(values)
    return (ordered[place // 100] + ordered[-(-place // 100)]) / 2


def spread(values):
    """Median, and the range of the middle half."""
    low, middle, high = (quantile(values, percent) for percent in (25, 50, 75))
    return f"**{middle:.3f}** ({low:.3f} to {high:.3f})"


def setting(command):
    """What a number is worth nothing without."""
    commit = said(["git", "-C", str(ROOT), "describe", "--always", "--dirty"]) or "unknown"
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.+)$", info, re.MULTILINE)
    return [
        f"- Date: {time.strftime('%Y-%m-%d')}",
        f"- Commit: {commit}",
        f"- CPU: {model[1] if model else platform.machine()}, {os.cpu_count()} cores",
        f"- Kernel: {platform.release()}",
        f"- Command: `{command}`",
    ]


def row(cells):
    return f"| {' | '.join(cells)} |"


def cpu_table(shapes, names, runs):
    """Rows are servers, columns shapes; `runs[shape][name]` has one run or `Missing` a round."""
    head = ["server", *(shape.name for shape in shapes), "faults"]
    lines = [row(head), "|---" * len(head) + "|"]
    for name in names:
        cells = [cell(runs[shape.name], name) for shape in shapes]
        faults = sum(
            count
            for shape in shapes
            for run in whole(runs[shape.name][name])
            for count in run.faults.values()
        )
        lines.append(row([name, *cells, str(faults)]))
    return lines


def cell(of_shape, name):
    """Ratio with its spread, and time; of the floor itself the time alone."""
    mine = whole(of_shape[name])
    if not mine:
        return "failed"
    time_us = f"{median(run.cpu_us for run in mine):.3f}"
    user_us = f"{median(run.user_us for run in mine):.3f} user"
    notes = " !" if any(run.client_is_bottleneck for run in mine) else ""
    gone = len(of_shape[name]) - len(mine)
    notes += f" ({gone} of {len(of_shape[name])} runs missing)" if gone else ""
    if name == "floor":
        return f"{time_us}, {user_us}{notes}"
    pairs = [
        (floor, run)
        for floor, run in zip(of_shape["floor"], of_shape[name])
        if isinstance(floor, Run) and isinstance(run, Run)
    ]
    ratio = spread([run.cpu_us / floor.cpu_us for floor, run in pairs]) if pairs else "no ratio"
    return f"{ratio} · {time_us}, {user_us}{notes}"


def whole(rounds):
    """The rounds that came to something."""
    return [one for one in rounds if not isinstance(one, Missing)]


def fault_lines(shapes, names, runs):
    """The faults by name, where there were any."""
    lines = []
    for shape in shapes:
        for name in names:
            sums = {}
            for run in whole(runs[shape.name][name]):
                for fault, count in run.faults.items():
                    sums[fault] = sums.get(fault, 0) + count
            kinds = [f"{count} {fault.replace('_', ' ')}" for fault, count in sums.items()]
            if kinds:
                lines.append(f"- {name}, {shape.name}: {', '.join(kinds)}")
    return lines


def missing_lines(runs):
    """The runs that came to nothing, and why; `runs[shape][name]` has one a round."""
    return [
        f"- {name}, {shape}, round {nth}: {one.why}"
        for shape, of_shape in runs.items()
        for name, rounds in of_shape.items()
        for nth, one in enumerate(rounds, 1)
        if isinstance(one, Missing)
    ]


def memory_table(names, looks):
    """Rows are servers; `looks[name]` has one look or `Missing` a round."""
    lines = ["| server | bytes per idle connection | kept after all left |", "|---|---|---|"]
    for name in names:
        mine = whole(looks[name])
        if not mine:
            lines.append(f"| {name} | failed | |")
            continue
        size = median(look.bytes_each for look in mine)
        kept = median(look.kept_bytes for look in mine) / 1024
        lines.append(f"| {name} | {size:,.0f} | {kept:,.0f} KiB |")
    return lines


def page(command, args, shapes, versions, runs, looks):
    """The whole document; `versions` has the name of every server that is no floor."""
    lines = ["# Peers in the same shapes", ""]
    lines += setting(command)
    lines += [f"- {name}: {version}" for name, version in versions.items()]
    lines += [f"- Left out: {', '.join(args.skip)}"] if args.skip else []
    lines += ["", "## Server CPU per delivery", ""]
    lines += [
        "**Ratio to the floor of the same round** (range of its middle half) · µs, µs of them in "
        f"user space. Medians of {args.rounds} interleaved rounds of fresh processes, each in an "
        f"order of its own (seed {args.seed}), server and client each on a core of its own. The "
        "floor joins what arrives together into one send. How far the second floor is from 1 is "
        "how little a ratio can be trusted. `!`: the client was the bottleneck in a run.",
        "",
    ]
    names = ["floor", "floor again", *versions]
    lines += cpu_table(shapes, names, runs)
    faults = fault_lines(shapes, names, runs)
    lines += ["", "Faults:", "", *faults] if faults else []
    missing = missing_lines({**runs, MEMORY: looks})
    lines += ["", "Runs that came to nothing:", "", *missing] if missing else []
    if looks:
        lines += ["", "## Memory at rest", ""]
        lines += [f"Resident bytes, {args.conns:,} connections in one room.", ""]
        lines += memory_table(versions, looks)
    lines += [
        "",
        "uWebSockets is not here: it is in none of the package registries that the peers come "
        "from.",
    ]
    return "\n".join(lines) + "\n"
