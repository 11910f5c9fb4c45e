"""Tests of what report.py reads and reckons: python3 -m unittest discover -s benches/peers"""

import copy
import unittest
from dataclasses import dataclass

import report
from report import Look, Missing, Run
from servers import Unfit

WHOLE = {
    "deliveries": 100,
    "lost": 0, "duplicated": 0, "reordered": 0, "unknown": 0, "connections_ended": 0,
    "server": {"cpu_us_each": 4.0, "user_us_each": 0.5},
    "client": {"cores": 0.5},
}


@dataclass(frozen=True)
class Shape:
    name: str


def run(cpu_us, busy=False, **faults):
    return Run(cpu_us, 0.5, busy, faults)


class Reading(unittest.TestCase):
    def test_every_required_figure_is_missed_by_name(self):
        paths = [(key,) for key in WHOLE if not isinstance(WHOLE[key], dict)]
        paths += [(side, key) for side in ("server", "client") for key in WHOLE[side]]
        self.assertEqual(Run.of(WHOLE), run(4.0))
        for path in paths:
            for value in (None, "absent"):
                lacking = copy.deepcopy(WHOLE)
                parent = lacking if len(path) == 1 else lacking[path[0]]
                if value is None:
                    parent[path[-1]] = None
                else:
                    del parent[path[-1]]
                with self.assertRaisesRegex(Unfit, f"`{'.'.join(path)}` is"):
                    Run.of(lacking)
        with self.assertRaisesRegex(Unfit, "kept_bytes"):
            Look.of({"bytes_per_connection": 150.0})

    def test_nothing_delivered_is_no_run(self):
        with self.assertRaisesRegex(Unfit, "deliveries"):
            Run.of({**WHOLE, "deliveries": 0})

    def test_newer_figures_count_where_they_are_told(self):
        read = Run.of({**WHOLE, "damaged": 2, "unknown": 1, "client_is_bottleneck": True})
        self.assertEqual(read, run(4.0, busy=True, damaged=2, unknown=1))
        busy = {**WHOLE, "client": {"cores": 0.95}}
        self.assertTrue(Run.of(busy).client_is_bottleneck)
        self.assertFalse(Run.of({**busy, "client_is_bottleneck": False}).client_is_bottleneck)


class Reckoning(unittest.TestCase):
    def test_quantiles_are_those_of_sorted_values(self):
        self.assertEqual(report.quantile([3, 1, 2], 50), 2)
        self.assertEqual(report.quantile([4, 1, 2, 3], 50), 2.5)
        self.assertEqual([report.quantile([7], p) for p in (0, 25, 100)], [7, 7, 7])
        self.assertEqual(report.spread([5, 4, 3, 2, 1]), "**3.000** (2.000 to 4.000)")

    def test_a_cell_has_ratios_within_rounds_and_tells_what_is_missing(self):
        of_shape = {
            "floor": [run(4.0), run(8.0), run(2.0), Missing("it hung")],
            "x": [run(5.0), run(8.0, busy=True), Missing("it hung"), run(1.0)],
        }
        told = "**1.125** (1.125 to 1.125) · 5.000, 0.500 user ! (1 of 4 runs missing)"
        self.assertEqual(report.cell({"floor": of_shape["floor"], "x": of_shape["x"]}, "x"), told)
        self.assertEqual(report.cell({**of_shape, "x": [Missing("it hung")]}, "x"), "failed")
        lines = report.missing_lines({"a shape": of_shape})
        self.assertEqual(lines[1], "- x, a shape, round 3: it hung")

    def test_faults_are_added_up_by_name(self):
        runs = {"a": {"x": [run(1.0, lost=1), run(1.0, lost=2, warm_up_lost=4)]}}
        lines = report.fault_lines([Shape("a")], ["x"], runs)
        self.assertEqual(lines, ["- x, a: 3 lost, 4 warm up lost"])


if __name__ == "__main__":
    unittest.main()
