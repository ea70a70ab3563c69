"""What a user of VS Code does in the tests, and the files in which the scripted model speaks."""

import itertools
import subprocess

from tests.e2e.vscode.workbench import Window, Workbench, wait_until
from tests.lsp_client import REPOSITORY

SAMPLE = (REPOSITORY / "examples" / "inventory.py").read_text("utf-8")
SAMPLE_LINE, SAMPLE_HEAD = 20, "        if name not in "

# What the scripted model says in the file that is named after it.
WORDS = "alpha_one beta_two + gamma_three"
ARGUMENTS = "first_argument, second_argument"
BLOCK = "total = 0\n    for number in numbers:\n        total += number\n    return total"
COPIED = """\
records = []
    for name in sorted(os.listdir(path_of_the_records)):
        with open(os.path.join(path_of_the_records, name)) as record_file:
            records.append(record_file.read().strip().splitlines())
    return records"""
HEAD_OF_COPIED = "import os\n\n\ndef read_all(path_of_the_records):\n    \n"
COPIED_FILE = HEAD_OF_COPIED.replace("    \n", f"    {COPIED}\n")
TEXTS = {"words": WORDS, "arguments": ARGUMENTS, "block": BLOCK, "copied": COPIED}

READ_ONLY = "_read_only.py"

_FILE_NUMBERS = itertools.count()


def switch_model(window: Window, name: str) -> None:
    """As a user does, and waits until it is loaded."""
    window.command("Starling: Switch Model")
    window.pick(name)
    wait_until(
        lambda: f"Model: {name}" in window.spoken_status and window.status == "Starling",
        lambda: f"{window.status}: {window.spoken_status}",
    )


def ask_at(window: Window, line: int, wanted: str) -> None:
    """Puts the cursor at the end of a line, and asks for the suggestion by key."""
    window.go_to_end(line)
    window.ask(wanted)


def name_for(text: str) -> str:
    """A new file in which the scripted model says `text`: no editor has another state of it."""
    kind = next(kind for kind, wanted in TEXTS.items() if wanted == text)
    return f"{kind}{next(_FILE_NUMBERS)}_{marker_of(text)}.py"


def marker_of(text: str) -> str:
    """The letter that makes the scripted model say `text`."""
    return chr(0x100 + list(TEXTS.values()).index(text))


def servers(workbench: Workbench) -> list[int]:
    """Process ids of the servers that the extension started."""
    shown = subprocess.run(
        ["ps", "-eww", "-o", "pid,args"], capture_output=True, text=True, check=True
    )
    own = str(workbench.storage)
    return [
        int(line.split()[0])
        for line in shown.stdout.splitlines()
        if own in line and line.endswith(" serve")
    ]
