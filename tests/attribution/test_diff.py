"""Guards the reading of diffs: a line taken for new that is old accuses the wrong person, a new one
overlooked lets a copy pass a review."""

import difflib
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attribution.diff import additions
from attribution.errors import DiffError

DIFF = """\
diff --git a/src/a.py b/src/a.py
index 83db48f..bf269f4 100644
--- a/src/a.py
+++ b/src/a.py
@@ -1,4 +1,6 @@ def head():
 one
-two
+deux
+trois
 three
 four
+cinq
@@ -20 +23,2 @@
 twenty
+++ looks like the head of a file
diff --git a/gone.py b/gone.py
deleted file mode 100644
--- a/gone.py
+++ /dev/null
@@ -1,2 +0,0 @@
-bye
-bye
diff --git "a/caf\\303\\251 \\"x\\".py" "b/caf\\303\\251 \\"x\\".py"
--- /dev/null
+++ "b/caf\\303\\251 \\"x\\".py"
@@ -0,0 +1 @@
+new
\\ No newline at end of file
"""


def test_added_lines_with_their_places():
    found = [(one.path, one.first_line, one.text, one.before) for one in additions(DIFF)]
    assert found == [
        ("src/a.py", 2, "deux\ntrois\n", "one\n"),
        ("src/a.py", 6, "cinq\n", "one\ndeux\ntrois\nthree\nfour\n"),
        ("src/a.py", 24, "++ looks like the head of a file\n", "twenty\n"),
        ('café "x".py', 1, "new\n", ""),
    ]


@pytest.mark.parametrize(
    "text", ["", "\n", "diff --git a/x b/x\nBinary files a/x and b/x differ\n"]
)
def test_diffs_that_add_nothing(text):
    assert additions(text) == []


@pytest.mark.parametrize("text", ["hello\nworld\n", "@@ -1,2 +1,2 @@\n one\nnonsense\n"])
def test_what_is_no_diff_is_refused(text):
    with pytest.raises(DiffError, match="diff"):
        additions(text)


def test_a_diff_that_is_cut_off_is_read_as_far_as_it_goes():
    assert [one.text for one in additions("+++ b/x\n@@ -0,0 +1,9 @@\n+one\n+two")] == ["one\ntwo\n"]


_LINES = st.lists(st.sampled_from(["a", "b", "", "+", "-- x", "++ y", "@@ z", " w"]), max_size=12)


@settings(max_examples=200)
@given(_LINES, _LINES)
def test_added_lines_are_those_of_the_new_file(old, new):
    diff = "\n".join(difflib.unified_diff(old, new, "a/f", "b/f", lineterm=""))
    for added in additions(diff):
        lines = added.text.split("\n")[:-1]
        assert new[added.first_line - 1 : added.first_line - 1 + len(lines)] == lines
    n_added = sum(added.text.count("\n") for added in additions(diff))
    n_kept = len(new) - n_added
    matcher = difflib.SequenceMatcher(None, old, new)
    assert n_kept == sum(block.size for block in matcher.get_matching_blocks())


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_what_git_writes(tmp_path):
    (tmp_path / "old").write_text("one\ntwo\n")
    (tmp_path / "new").write_bytes(b"one\r\nand a half\r\ntwo")
    command = ["git", "diff", "--no-index", "old", "new"]
    diff = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout
    assert "and a half" in "".join(one.text for one in additions(diff))
