"""How much may be read from other people's archives: sizes, counts, ratios.

Knows no archive format. A member that breaks a rule is refused with its reason; an archive that is
a bomb as a whole raises `Bomb`, and nothing of it is read. Names are the business of `paths`.
"""

MAX_MEMBERS = 100_000
"""Many times what a large project has; the listing of so many stays below 100 MB."""
MAX_INFLATED_BYTES = 512_000_000
"""All members together. Tar archives are held in memory while they are sorted, so this is what one
worker may need; a hostile archive is given up after some two seconds."""
MAX_COMPRESSION_RATIO = 200
"""What inflates further is a bomb or a table. Source code packs 3 to 10 times."""
MIN_RATIO_BYTES = 1_000_000
"""Below this a whole archive is no bomb, whatever its ratio: padding of a small tar packs well."""


class Bomb(Exception):
    """The archive as a whole breaks a limit; the text is the reason. Never reaches the user."""
