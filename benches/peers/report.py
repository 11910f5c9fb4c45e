"""What was measured, as Markdown.

Not here: measuring. A figure is the median over the rounds; a ratio is taken within each round
first.
"""

import os
import platform
import re
import time
from pathlib import Path
from statistics import median

from servers import ROOT, said

FAULTS = ["lost", "duplicated", "reordered", "unknown", "connections_ended"]


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
    """Rows are servers, columns shapes; `runs[shape][name]` has one report a round."""
    head = ["server", *(shape.name for shape in shapes), "faults"]
    lines = [row(head), "|---" * len(head) + "|"]
    for name in names:
        cells = [cell(runs[shape.name], name) for shape in shapes]
        faults = sum(count(report) for shape in shapes for report in runs[shape.name][name])
        lines.append(row([name, *cells, str(faults)]))
    return lines


def cell(of_shape, name):
    pairs = [(of_shape["floor"][at], run) for at, run in enumerate(of_shape[name])]
    pairs = [(floor, run) for floor, run in pairs if floor and run]
    if not pairs:
        return "failed"
    ratio = median(each(run) / each(floor) for floor, run in pairs)
    mine = median(each(run) for _, run in pairs)
    user = median(run["server"]["user_us_each"] for _, run in pairs)
    return f"**{ratio:.3f}** · {mine:.3f} ({user:.3f})"


def each(run):
    return run["server"]["cpu_us_each"]


def count(run):
    """What went wrong in a run; one that came to nothing counts as one fault."""
    return sum(run[fault] for fault in FAULTS) if run else 1


def fault_lines(shapes, names, runs):
    """The faults by name, where there were any."""
    lines = []
    for shape in shapes:
        for name in names:
            kinds = [
                f"{sum(run[fault] for run in runs[shape.name][name] if run)} {fault}"
                for fault in FAULTS
                if any(run and run[fault] for run in runs[shape.name][name])
            ]
            failed = sum(run is None for run in runs[shape.name][name])
            kinds += [f"{failed} runs failed"] if failed else []
            if kinds:
                lines.append(f"- {name}, {shape.name}: {', '.join(kinds)}".replace("_", " "))
    return lines


def memory_table(names, looks):
    """Rows are servers; `looks[name]` has one report a round."""
    lines = ["| server | bytes per idle connection | kept after all left |", "|---|---|---|"]
    for name in names:
        reports = [look for look in looks[name] if look]
        if not reports:
            lines.append(f"| {name} | failed | |")
            continue
        size = median(report["bytes_per_connection"] for report in reports)
        kept = median(report["kept_bytes"] for report in reports) / 1024
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
        "**Ratio to the floor of the same round** · µs (µs of them user). Medians of "
        f"{args.rounds} interleaved rounds of fresh processes, server and client each on a core "
        "of its own. The floor joins what arrives together into one send. How far the second "
        "floor is from 1 is how little a ratio can be trusted.",
        "",
    ]
    names = ["floor", "floor again", *versions]
    lines += cpu_table(shapes, names, runs)
    faults = fault_lines(shapes, names, runs)
    lines += ["", "Faults:", "", *faults] if faults else []
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
