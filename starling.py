"""The front door of the command line: `starling VERB ...`.

Knows the verbs and which package owns each; imports that package only when its verb is used, so
`starling --help` needs nothing but click. Turns every error into one sentence and an exit status:
1 found a problem, 2 wrong use, 130 interrupted. STARLING_DEBUG=1 shows the traceback instead.
"""

import difflib
import errno
import importlib
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import click

from attribution.visible import visible


class Verb(NamedTuple):
    """Where a verb lives, and its line in the help."""

    target: str
    """``package.module:function``"""
    help: str


VERBS: dict[str, Verb] = {
    "complete": Verb("lsp_server.__main__:complete", "Completions at a point of a file."),
    "serve": Verb("lsp_server.__main__:serve", "The language server, for editors (stdio)."),
    "explain": Verb("lsp_server.explain.command:explain", "What this code does, in Markdown."),
    "attribute": Verb(
        "attribution.__main__:attribute",
        "Whose code is it? Check files, look up sources.",
    ),
    "train": Verb("train.__main__:train", "Corpus, tokenizer and weights of a model."),
    "quantize": Verb("quantize.__main__:quantize", "A checkpoint to a bundle that a laptop runs."),
    "eval": Verb("train.evaluation.commands:evaluate", "How good a model is, in numbers."),
    "settings": Verb("lsp_server.__main__:settings", "What editors may set, and the defaults."),
    "playground": Verb("lsp_server.web.command:playground", "Try it in the browser, on loopback."),
    "doctor": Verb("lsp_server.__main__:doctor", "What is installed, what is wrong, what to do."),
}

# They load numba or torch on their own; with too little memory these hang or end the process.
_HEAVY_VERBS = frozenset({"attribute", "train", "quantize", "eval"})
# Packages with an `errors` module whose exceptions are sentences for users.
OWN_PACKAGES = frozenset({"runtime", "attribution", "lsp_server", "train", "quantize"})
DEBUG_VARIABLE = "STARLING_DEBUG"
BUNDLE_VARIABLE = "STARLING_BUNDLE"

# With less address space than this, an error that nobody expected is most likely the want of it.
_LITTLE_MEMORY_BYTES = 1 << 30

EXIT_PROBLEM = 1
EXIT_INTERRUPTED = 130


class VerbGroup(click.Group):
    """Lists verbs without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        verb = VERBS.get(cmd_name)
        if verb is None:
            return None
        if cmd_name in _HEAVY_VERBS:
            from runtime.room import check_room

            check_room(None)
        module_name, _, function = verb.target.partition(":")
        command = getattr(_import(module_name, cmd_name), function)
        assert isinstance(command, click.Command), f"{verb.target=}"
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, verb.help) for name, verb in VERBS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in VERBS and not name.startswith("-"):
            near = difflib.get_close_matches(name, VERBS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else "see 'starling --help'"
            ctx.fail(f"there is no verb '{name}': {hint}")
        return super().resolve_command(ctx, args)


class LazyObject(dict[str, Any]):
    """What verbs find in `ctx.obj`; each value is computed when a verb first asks for it."""

    def __bool__(self) -> bool:
        return True  # Empty only because nobody asked yet.

    def __missing__(self, key: str) -> Any:
        if key != "bundle_directory":
            raise KeyError(key)
        self[key] = _bundle_directory()
        return self[key]

    def get(self, key: str, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default


def _show_version(ctx: click.Context, parameter: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        from lsp_server.version import starling_version

        click.echo(f"starling {starling_version()}")
        ctx.exit()


@click.group(
    cls=VerbGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Example: starling complete app.py:12    ('starling VERB --help' shows more of each)
Exit status: 0 fine, 1 a problem was found, 2 wrong use, 130 interrupted.
""",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Starling: code completion that stays on your machine and tells whose code it repeats."""
    ctx.obj = LazyObject()


def main(arguments: list[str] | None = None) -> int:
    """Runs one verb; the exit status."""
    from runtime.privacy import stay_private

    stay_private()
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE) == "1":
            raise
        sentence = _sentence(error)
        if sentence:
            click.echo(f"starling: {visible(sentence)}", err=True)
        return EXIT_PROBLEM


def _run(arguments: list[str] | None) -> int:
    try:
        status = cli.main(args=arguments, prog_name="starling", standalone_mode=False)
        sys.stdout.flush()
        return int(status) if isinstance(status, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        _show_usage_error(error)
        return error.exit_code
    except click.Abort:
        return EXIT_INTERRUPTED


def _show_usage_error(error: click.ClickException) -> None:
    command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else ""
    hint = f" (see '{command} --help')" if command else ""
    message = visible(error.format_message().rstrip("."), kept="\n")
    click.echo(f"starling: {message}{hint}", err=True)


def _sentence(error: Exception) -> str:
    """What to tell the user; empty when there is nobody to tell."""
    if _is_own(error):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and (sentence := _missing_package(error)):
        return sentence
    if isinstance(error, BrokenPipeError):
        # The reader of our output (`| head`) has left; Python must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return ""
    if isinstance(error, OSError) and error.strerror:
        cure = {
            errno.ENOSPC: ": make room on that disk and run it again",
            errno.EACCES: ": allow Starling to use it, or name another place",
            errno.ENOENT: ": check the path",
        }.get(error.errno or 0, "")
        where = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror.lower()}{where}{cure}"
    if sentence := _want_of_memory(error):
        return sentence
    return (
        f"this is a bug in Starling ({type(error).__name__}: {error}); "
        f"run it with {DEBUG_VARIABLE}=1 and report what that shows"
    )


def _want_of_memory(error: Exception) -> str:
    """Libraries that get no memory fail in many ways; empty when there was no want of it."""
    from runtime.room import address_space_limit_bytes

    limit_bytes = address_space_limit_bytes()
    if limit_bytes is not None and limit_bytes < _LITTLE_MEMORY_BYTES:
        return (
            f"{limit_bytes >> 20} MB of memory (ulimit -v) are too little for this: raise that "
            f"limit, best to {_LITTLE_MEMORY_BYTES >> 20} MB or more"
        )
    if isinstance(error, MemoryError):
        return "there is not enough memory for this: close other programs, or ask for less at once"
    return ""


def _is_own(error: Exception) -> bool:
    """Whether the class comes from an `errors` module of ours; imports none of them."""
    for base in type(error).__mro__:
        package, _, module = base.__module__.partition(".")
        if package in OWN_PACKAGES and module == "errors":
            return True
    return False


def _import(module_name: str, verb_name: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        extra = "quantize" if verb_name == "quantize" else "train"
        if (sentence := _missing_package(error, extra=extra)) is None:
            raise
        raise click.ClickException(f"'starling {verb_name}': {sentence}") from error


def _missing_package(error: ModuleNotFoundError, *, extra: str = "train") -> str | None:
    """What to install when a verb needs a package that is not there; None when it is ours."""
    missing = (error.name or "").partition(".")[0]
    if missing in OWN_PACKAGES:
        return None
    return (
        f"this needs the Python package '{missing}', which is not installed: install Starling "
        f"with its extra `{extra}`, e.g. pip install -e '.[{extra}]' in its source folder"
    )


def _bundle_directory() -> Path:
    """The bundle that the user's environment names, or the one that is shipped."""
    named = os.environ.get(BUNDLE_VARIABLE)
    if named:
        return Path(os.path.expanduser(named))  # `~somebody` whom nobody knows stays
    from runtime.bundle import default_bundle_directory

    return default_bundle_directory()


if __name__ == "__main__":
    sys.exit(main())
