"""Language of a file, by its name. The one table of the languages that recipes may name."""

from pathlib import PurePosixPath

LANGUAGE_OF_SUFFIX: dict[str, str] = {
    ".py": "Python",
    ".pyi": "Python",
    ".pyx": "Cython",
    ".c": "C",
    ".h": "C",
    ".cc": "C++",
    ".cpp": "C++",
    ".hpp": "C++",
    ".rs": "Rust",
    ".go": "Go",
    ".java": "Java",
    ".js": "JavaScript",
    ".mjs": "JavaScript",
    ".ts": "TypeScript",
    ".lua": "Lua",
    ".sh": "Shell",
    ".md": "Markdown",
    ".rst": "reStructuredText",
    ".toml": "TOML",
    ".yaml": "YAML",
    ".yml": "YAML",
}
LANGUAGES: frozenset[str] = frozenset(LANGUAGE_OF_SUFFIX.values())


def language_of(path: str) -> str | None:
    """Name of the language, or None for a file that no recipe can name."""
    return LANGUAGE_OF_SUFFIX.get(PurePosixPath(path).suffix.lower())
