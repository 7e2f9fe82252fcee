"""Small counts of tests/load/hostility.py; the full ones are run by hand (docs/serving.md)."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "load"))
import hostility


class Hostility(unittest.TestCase):
    def passes(self, name, count, tries=1, **more):
        for _ in range(tries):
            numbers, zeros = hostility.measure(name, count, **more)
            if not hostility.missed(numbers, zeros):
                return numbers
        self.assertEqual(hostility.missed(numbers, zeros), [], numbers)

    def test_hot_swaps_under_load(self):
        numbers = self.passes("swaps", 12, every_corrupt=4)
        self.assertEqual((numbers["swaps"], numbers["corrupt"]), (12, 3))
        self.assertGreater(numbers["served"], 12)

    def test_restarts_behind_a_second_replica(self):
        self.assertGreater(self.passes("restarts", 4)["served"], 4)

    def test_killed_publishers(self):
        numbers = self.passes("publish", 20)
        self.assertEqual(numbers["kills"], 20)
        self.assertGreater(numbers["versions"], 1)

    def test_slow_connections(self):
        # A shared machine may stall for longer than a request takes: a server that slow clients slow fails every try.
        self.passes("slow", 200, tries=3, seconds=1.5)

    def test_soak(self):
        # Half a minute still sees the allocator settle; the full run does not.
        numbers = self.passes("soak", 0.5, tries=2)
        for name in ("good", "refused", "upserts"):
            self.assertGreater(numbers[name], 0, name)

    def test_a_slope_is_a_slope(self):
        self.assertAlmostEqual(hostility.slope([(0, 1), (1, 3), (2, 5)]), 2.0)
        self.assertEqual(hostility.missed({"a": 0, "b": 2, "c": 1}, ["a", "b"]), ["b"])


if __name__ == "__main__":
    unittest.main()
