"""The guards can fail: each is shown a planted violation, and a clean tree."""

import pathlib
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import check_headers
import check_layers
import check_names

RULES = {
    "levels": {"base": 0, "table": 1, "es3": 2},
    "third_parties": {"fmt/": ["*"], "arrow/": ["table"]},
    "hidden": {"arrow/": []},
}


class Tree(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = pathlib.Path(self.folder.name)

    def write(self, path, text):
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


class Layers(Tree):
    def problems(self):
        return check_layers.problems_of(self.root, RULES)

    def test_downward_include_is_fine(self):
        self.write("es3/a.cc", '#include "base/error.h"\n#include <fmt/format.h>\n#include <vector>\n')
        self.assertEqual(self.problems(), [])

    def test_upward_include(self):
        self.write("base/a.h", '#include "es3/build.h"\n')
        self.assertIn("base (level 0) may not include es3 (level 2)", self.problems()[0])

    def test_third_party_in_the_wrong_room(self):
        self.write("es3/a.cc", "#include <arrow/api.h>\n")
        self.assertIn("belongs to table", self.problems()[0])

    def test_third_party_in_a_public_header(self):
        self.write("table/a.h", "#include <arrow/api.h>\n")
        self.assertIn("public header", self.problems()[0])

    def test_private_header_of_another_room(self):
        self.write("es3/a.cc", '#include "table/detail/x.h"\n')
        self.assertIn("private to the room table", self.problems()[0])

    def test_unknown_third_party(self):
        self.write("es3/a.cc", "#include <newlib/api.h>\n")
        self.assertIn("neither a room nor a third party", self.problems()[0])


class Names(Tree):
    def problems(self):
        return check_names.problems_of(self.root)

    def test_clean_file(self):
        self.write("src/base/hash.cc", "int x;\n")
        self.assertEqual(self.problems(), [])

    def test_empty_name(self):
        self.write("src/base/string_utils.cc", "int x;\n")
        self.assertIn("says nothing", self.problems()[0])

    def test_long_file(self):
        self.write("src/base/hash.cc", "int x;\n" * 601)
        self.assertIn("601 lines", self.problems()[0])

    def test_unfinished_mark(self):
        self.write("src/base/hash.cc", "// TO" + "DO later\n")
        self.assertIn("unfinished", self.problems()[0])

    def test_machine_path(self):
        self.write("docs/x.md", "see /ho" + "me/someone\n")
        self.assertIn("path of one machine", self.problems()[0])


class Headers(Tree):
    def test_header_that_lacks_an_include(self):
        self.write("base/a.h", "inline std::vector<int> f() { return {}; }\n")
        self.assertIn("does not compile alone", check_headers.problems_of(self.root)[0])

    def test_complete_header(self):
        self.write("base/a.h", "#include <vector>\ninline std::vector<int> f() { return {}; }\n")
        self.assertEqual(check_headers.problems_of(self.root), [])


if __name__ == "__main__":
    unittest.main()
