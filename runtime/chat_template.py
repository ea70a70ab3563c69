"""Renders the chat template of a model: a foreign program, run by Jinja's sandbox in a process of
its own, which may take little time and memory.

The sandbox keeps a template from everything but its messages; what it cannot do is keep two loops
inside each other from running for ever, or a product of texts from filling the memory. This file is
both sides: `render` starts it as a script, which imports nothing of ours.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime

Message = dict[str, str]

_MAX_CPU_S = 1
_MAX_WAIT_S = 20.0
_MAX_MEMORY_BYTES = 1 << 29
_MAX_TEXT_CHARS = 1 << 20
"""Of templates that are in use, the longest gives some thousand characters around the messages."""


class TemplateError(Exception):
    """Why a template gives no text; a clause."""


class TemplateLimitError(TemplateError):
    """It takes more than it may; asking again would take as much."""


def render(template: str, messages: Sequence[Message], *, bos: str, eos: str) -> str:
    """The text of a dialogue; raises TemplateError."""
    asked = {"template": template, "messages": list(messages), "bos": bos, "eos": eos}
    try:
        done = subprocess.run(
            [sys.executable, "-P", __file__],
            input=json.dumps(asked).encode(),
            capture_output=True,
            timeout=_MAX_WAIT_S,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            check=False,
        )
        answer = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        raise TemplateLimitError("it took too much time or memory") from None
    if "problem" in answer:
        raise TemplateError(str(answer["problem"]))
    return str(answer["text"])


def _main() -> None:
    """The script: a question on stdin, the answer on stdout."""
    asked = json.loads(sys.stdin.buffer.read())
    # Imported before the limits, which are for the template.
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals.update(raise_exception=_raise_exception, strftime_now=_strftime_now)
    _limit()
    try:
        text = environment.from_string(asked["template"]).render(
            messages=asked["messages"],
            add_generation_prompt=True,
            enable_thinking=False,
            bos_token=asked["bos"],
            eos_token=asked["eos"],
        )
        if len(text) > _MAX_TEXT_CHARS:
            raise ValueError(f"it gives {len(text):,} characters")
        answer = {"text": text}
    except Exception as error:  # Whatever the template does.
        answer = {"problem": str(error)[:1000] or type(error).__name__}
    sys.stdout.write(json.dumps(answer))


def _limit() -> None:
    try:
        import resource
    except ImportError:
        return  # Windows: there is only the time that the other side waits.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY_BYTES, _MAX_MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (_MAX_CPU_S, _MAX_CPU_S))


# What templates expect to be able to call.


def _raise_exception(message: str) -> None:
    raise ValueError(message)


def _strftime_now(layout: str) -> str:
    return datetime.now().strftime(layout)


if __name__ == "__main__":
    _main()
