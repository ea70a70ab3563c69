"""Guards the user's own record of accepted suggestions: it is read when somebody asks whose code is
in a project, so that a lost or broken line is a source that nobody names.
"""

import resource
import threading

import pytest

from attribution.accepted_record import append, entries, record_path
from attribution.errors import RecordError

ENTRY = {
    "time": "2026-01-01T00:00:00+00:00",
    "uri": "file:///é.py",
    "sources": [{"path": "\ud800"}],
}


def test_the_place_follows_the_users_state_folder(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert record_path() == tmp_path / "state" / "starling" / "accepted.jsonl"
    monkeypatch.setenv("HOME", str(tmp_path))
    for unusable in ("", "relative"):
        monkeypatch.setenv("XDG_STATE_HOME", unusable)
        assert record_path() == tmp_path / ".local" / "state" / "starling" / "accepted.jsonl"


def test_what_was_written_comes_back_but_for_torn_lines(tmp_path) -> None:
    path = tmp_path / "new" / "accepted.jsonl"
    assert list(entries(path)) == []
    append(ENTRY, path)
    with path.open("ab") as file:
        file.write(b'{"time": "half\n17\n\xff\n')
    append({"n": 2}, path)
    found = list(entries(path))
    assert [set(entry) for entry in found] == [set(ENTRY), {"n"}]
    assert found[0]["uri"] == ENTRY["uri"]
    assert path.stat().st_mode & 0o077 == 0 and path.parent.stat().st_mode & 0o077 == 0


def test_two_servers_do_not_mix_their_lines(tmp_path) -> None:
    path = tmp_path / "accepted.jsonl"

    def write(name: str) -> None:
        for n in range(200):
            append({"name": name, "n": n, "filler": "x" * 3000}, path)

    threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in "ab":
        assert [e["n"] for e in entries(path) if e["name"] == name] == list(range(200))


def test_a_disk_that_fills_up_in_a_line_costs_that_line_only(tmp_path) -> None:
    path = tmp_path / "accepted.jsonl"
    append({"n": 1}, path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 5, hard))
    try:
        with pytest.raises(RecordError, match="recordAccepted"):
            append({"n": 2}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    append({"n": 3}, path)
    assert [entry["n"] for entry in entries(path)] == [1, 3]


def test_an_unusable_place_is_said_with_its_cure(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="recordAccepted"):
        append(ENTRY, tmp_path / "file" / "accepted.jsonl")
    with pytest.raises(RecordError, match="permissions"):
        list(entries(tmp_path))
