"""Values for the slots of the labelled snippets: drawn at random, in the true form of their kind.

No secret stands in this repository: prefixes, alphabets, lengths and check digits are here, the
rest comes from the generator. Each function takes a seeded `random.Random` and the slot's argument.
"""

import base64
import ipaddress
import json
import random
import string
import uuid
import zlib
from collections.abc import Callable

LOWER_ALNUM = string.ascii_lowercase + string.digits
UPPER_ALNUM = string.ascii_uppercase + string.digits
ALNUM = string.ascii_letters + string.digits
BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
"""The order in which GitHub and npm write their check digits."""
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
URL_SAFE = ALNUM + "-_"
HEX = "0123456789abcdef"
ALPHABETS = {
    "alnum": ALNUM,
    "b64": ALNUM + "+/",
    "b64url": URL_SAFE,
    "base58": BASE58,
    "digits": string.digits,
    "hex": HEX,
    "lower_alnum": LOWER_ALNUM,
    "lower_base32": string.ascii_lowercase + "234567",
    "nix_base32": "0123456789abcdfghijklmnpqrsvwxyz",
    "printable": ALNUM + "!@#$%^&*()-_[]{}<>~+=,.;:/?|",
    "upper_alnum": UPPER_ALNUM,
    "upper_hex": HEX.upper(),
}

FIRST_NAMES = """Amelia Anneke Bartosz Carlos Chidi Dmitri Ebba Farah Fatima Giulia Hannah
Hiroshi Ingrid Jean-Luc Joaquín Kateryna Kwame Lars Liesbeth Mehmet Mei Miguel Nadia Oluwaseun
Patrick Priya Rajesh Robert Sanna Siobhán Susan Thabo Tomáš Ursula Viktor William Xiomara Yusuf
Zoë Łukasz""".split()
LAST_NAMES = """Achterberg Adeyemi Andersson Banerjee Bianchi Brockmann Castillo Chen Delacroix
Eriksen Fernandes Fitzgerald Gärtner Haddad Hoffmann Ivanova Jankowski Kowalczyk Lindqvist
MacLeod Mbeki Müller Nakamura Novák O'Brien Okafor Papadopoulos Petrenko Quispe Ramírez
Schreiber Sørensen Tanaka Thornton Vasquez Vermeulen Whitfield Yılmaz Zhang Zimmermann""".split()
PARTICLES = ("van der", "de", "von", "al")
HOSTS = """bluefjord brightmill cedarworks coldharbour dunelabs elmbridge ferngate graniteworks
hollowoak ironquay juniperbay kestrelsoft larkfield marshlight northpier oakenshaw pinegrid
quarryhill redtarn saltmarsh tallowtree umberlabs vellumpress westerkamp yarrowfield
zilverberg""".split()
TLDS: tuple[str, ...] = (
    "com",
    "org",
    "net",
    "io",
    "de",
    "fr",
    "nl",
    "co.uk",
    "com.br",
    "edu",
    "dev",
    "info",
    "se",
)
TLDS += ("ac.jp", "gov", "museum", "cloud", "pl", "ru", "co.in")
FREE_MAIL = ("gmail.com", "outlook.com", "yahoo.com", "gmx.de", "hotmail.fr", "qq.com", "proton.me")
WORDS = """anchor basalt candle dragon ember falcon garden hammer island jacket kettle ladder
meadow needle orange pepper quartz rocket summer timber violet walnut yellow zebra""".split()
ASCII = str.maketrans("áéíóúüäöøñłŁšžıëß", "aeiouuaoonlLszies")
KNOWN_RESOLVERS = ("8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "208.67.222.222")
IPV6_PREFIXES: tuple[str, ...] = (
    "2001:67c",
    "2003:e1",
    "2600:1f18",
    "2607:f8b0",
    "2a00:1450",
    "2a01:4f8",
    "2a02:8109",
)
IPV6_PREFIXES += ("2400:cb00", "2800:3f0", "2c0f:fb50")


def draw(rng: random.Random, name: str, argument: str = "") -> str:
    """A value for the slot ``name:argument``; KeyError for a name that nothing makes."""
    if name in ALPHABETS:
        return _chars(rng, ALPHABETS[name], int(argument))
    return _MAKERS[name](rng, argument)


def person(rng: random.Random, argument: str = "") -> str:
    """A full name that belongs to nobody we know of."""
    first, last = rng.choice(FIRST_NAMES), rng.choice(LAST_NAMES)
    style = rng.random()
    if style < 0.10:
        return f"{first[0]}. {rng.choice(FIRST_NAMES)[0]}. {last}"
    if style < 0.20:
        return f"{first} {rng.choice(string.ascii_uppercase)}. {last}"
    if style < 0.27:
        return f"{first} {rng.choice(PARTICLES)} {last}"
    if style < 0.32:
        return f"{first} {last}-{rng.choice(LAST_NAMES)}"
    return f"{first} {last}"


def email(rng: random.Random, argument: str = "") -> str:
    """An address at a made-up domain; `argument` picks a special form."""
    first = rng.choice(FIRST_NAMES).translate(ASCII).lower()
    last = rng.choice(LAST_NAMES).translate(ASCII).replace("'", "").lower()
    local = rng.choice([f"{first}.{last}", f"{first[0]}{last}", first, f"{first}_{last}", last])
    host = rng.choice(HOSTS) + rng.choice(["", "", "", "-it", "24", "-group"])
    domain = f"{host}.{rng.choice(TLDS)}"
    if argument == "plus":
        local += "+" + rng.choice(["news", "github", "test1", "shop"])
    elif argument == "digits":
        local += str(rng.randrange(10, 2000))
    elif argument == "sub":
        domain = rng.choice(["mail", "cs", "dev.eu", "lists", "research"]) + "." + domain
    elif argument == "free":
        local, domain = f"{local}{rng.randrange(100)}", rng.choice(FREE_MAIL)
    elif argument == "role":
        local = rng.choice(["security", "support", "info"])
    elif argument == "idn":
        host = rng.choice(["mühlenwerk", "señalweb", "łąkasoft", "xn--mhlenwerk-65a"])
        domain = f"{host}.{rng.choice(['de', 'es', 'pl', 'com'])}"
    address = f"{local}@{domain}"
    return address.upper() if argument == "upper" else address


def password(rng: random.Random, argument: str = "") -> str:
    """A password as people choose them; `argument` names the place where it must be legal.

    `plain` takes letters, digits and a few marks, `url` also what a URL bears before its host,
    `xml` also what quotes and markup bear; without one it may hold all but quotes and backslash.
    """
    marks = {"plain": "_-.", "url": "!$*_-.~", "xml": "!$*_-.#%@", "": "!$*_-.#%@&+=?"}[argument]
    words = [rng.choice(WORDS) for _ in range(3)]
    style = rng.random()
    if style < 0.25:
        return words[0].capitalize() + str(rng.randrange(1960, 2025)) + rng.choice(marks)
    if style < 0.40:
        leet = words[0].translate(str.maketrans("aeio", "4310"))
        return leet + rng.choice(marks) + str(rng.randrange(100))
    if style < 0.50:
        return "-".join(words) + str(rng.randrange(10))
    n_chars = rng.randrange(9, 21)
    text = [*_chars(rng, ALNUM, n_chars - 1), rng.choice(marks)]
    rng.shuffle(text)
    return rng.choice(ALNUM) + "".join(text)


def ipv4(rng: random.Random, argument: str = "") -> str:
    """A public address that is no well-known resolver."""
    while True:
        address = ipaddress.IPv4Address(rng.getrandbits(32))
        if address.is_global and not address.is_multicast and str(address) not in KNOWN_RESOLVERS:
            return str(address)


def ipv6(rng: random.Random, argument: str = "") -> str:
    """A public address, in full, shortened or in upper case."""
    prefix = rng.choice(IPV6_PREFIXES)
    groups = prefix.split(":")
    style = rng.random()
    if style < 0.5:
        tail = [f"{rng.randrange(1, 1 << 16):x}" for _ in range(8 - len(groups))]
        text = ":".join(groups + tail)
    else:
        tail = [f"{rng.randrange(1, 1 << 16):x}" for _ in range(rng.randrange(1, 4))]
        text = ":".join([*groups, f"{rng.randrange(1, 1 << 16):x}"]) + "::" + ":".join(tail)
    assert ipaddress.ip_address(text).is_global
    return text.upper() if style > 0.9 else text


def _chars(rng: random.Random, alphabet: str, n_chars: int) -> str:
    return "".join(rng.choice(alphabet) for _ in range(n_chars))


def _with_crc(rng: random.Random, prefix: str) -> str:
    """GitHub's and npm's form: 30 random letters, then their CRC-32 in six base-62 digits."""
    body = _chars(rng, BASE62, 30)
    crc, digits = zlib.crc32(body.encode()), ""
    for _ in range(6):
        crc, digit = divmod(crc, 62)
        digits = BASE62[digit] + digits
    return prefix + body + digits


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _jwt(rng: random.Random, argument: str) -> str:
    header = {"alg": rng.choice(["HS256", "RS256"]), "typ": "JWT"}
    start_s = rng.randrange(1_400_000_000, 1_700_000_000)
    payload = {"sub": str(rng.randrange(10**6)), "iat": start_s, "role": rng.choice(WORDS)}
    parts = [json.dumps(part, separators=(",", ":")).encode() for part in (header, payload)]
    parts.append(rng.randbytes(32 if header["alg"] == "HS256" else 256))
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def _pem(rng: random.Random, argument: str) -> str:
    n_bytes = 121 if argument.startswith("EC") else 600
    body = _b64(b"\x30\x82" + rng.randbytes(n_bytes))
    if argument.startswith("OPENSSH"):
        body = _b64(b"openssh-key-v1\0\0\0\0\4none" + rng.randbytes(330))
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    return "\n".join([f"-----BEGIN {argument}-----", *lines, f"-----END {argument}-----"])


def _pgp_private(rng: random.Random, argument: str) -> str:
    title = "PGP PRIVATE KEY BLOCK"
    lines = ["lQOY" + _chars(rng, ALPHABETS["b64"], 60)]
    lines += [_chars(rng, ALPHABETS["b64"], 64) for _ in range(9)]
    lines += ["=" + _chars(rng, ALPHABETS["b64"], 4), f"-----END {title}-----"]
    return "\n".join([f"-----BEGIN {title}-----", "", *lines])


def _basic_auth(rng: random.Random, argument: str) -> str:
    return _b64(f"{rng.choice(WORDS)}:{password(rng, 'url')}".encode())


def _telegram(rng: random.Random, argument: str) -> str:
    return f"{rng.randrange(10**8, 10**10)}:AA{_chars(rng, URL_SAFE, 33)}"


def _discord(rng: random.Random, argument: str) -> str:
    user = _b64(_chars(rng, string.digits[1:], 18).encode())
    return f"{user}.{_chars(rng, URL_SAFE, 6)}.{_chars(rng, URL_SAFE, 27)}"


def _slack_bot(rng: random.Random, argument: str) -> str:
    ids = [_chars(rng, string.digits[1:], rng.choice([11, 12, 13])) for _ in range(2)]
    return f"xoxb-{ids[0]}-{ids[1]}-{_chars(rng, ALNUM, 24)}"


def _slack_webhook(rng: random.Random, argument: str) -> str:
    team, hook = _chars(rng, UPPER_ALNUM, 8), _chars(rng, UPPER_ALNUM, 10)
    return f"https://hooks.slack.com/services/T{team}/B{hook}/{_chars(rng, ALNUM, 24)}"


def _pypi_token(rng: random.Random, argument: str) -> str:
    return "pypi-AgEIcHlwaS5vcmc" + _chars(rng, URL_SAFE, rng.randrange(150, 175))


def _fixed(prefix: str, alphabet: str, n_chars: int, suffix: str = "") -> Callable[..., str]:
    def make(rng: random.Random, argument: str) -> str:
        return prefix + _chars(rng, alphabet, n_chars) + suffix

    return make


def _separated(separator: str, form: str = "02x") -> Callable[..., str]:
    def make(rng: random.Random, argument: str) -> str:
        return separator.join(format(rng.randrange(256), form) for _ in range(int(argument or 6)))

    return make


def _ipv4_in(*networks: str) -> Callable[..., str]:
    def make(rng: random.Random, argument: str) -> str:
        network = ipaddress.ip_network(rng.choice(networks))
        return str(network[rng.randrange(1, network.num_addresses - 1)])

    return make


def _int(rng: random.Random, argument: str) -> str:
    low, high = argument.split("-")
    return str(rng.randint(int(low), int(high)))


def _version4(rng: random.Random, argument: str) -> str:
    return ".".join(str(rng.randrange(limit)) for limit in (20, 30, 255, 255))


def _uuid(rng: random.Random, argument: str) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def _pgp_fingerprint(rng: random.Random, argument: str) -> str:
    groups = [_chars(rng, ALPHABETS["upper_hex"], 4) for _ in range(10)]
    return " ".join(groups[:5]) + "  " + " ".join(groups[5:])


_MAKERS: dict[str, Callable[[random.Random, str], str]] = {
    "person": person,
    "email": email,
    "password": password,
    "ipv4": ipv4,
    "ipv6": ipv6,
    "ipv4_private": _ipv4_in("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
    "ipv4_doc": _ipv4_in("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"),
    "ipv6_doc": lambda rng, _: f"2001:db8:{rng.getrandbits(16):x}::{rng.getrandbits(16):x}",
    "mac": _separated(":"),
    "colon_hex": _separated(":", "02X"),
    "hex_bytes": _separated(", ", "#04x"),
    "spaced_hex": _separated(" "),
    "version4": _version4,
    "int": _int,
    "word": lambda rng, _: rng.choice(WORDS),
    "uuid": _uuid,
    "uuid_upper": lambda rng, _: _uuid(rng, "").upper(),
    "pgp_fingerprint": _pgp_fingerprint,
    "b64_bytes": lambda rng, n_bytes: _b64(rng.randbytes(int(n_bytes))),
    "pem": _pem,
    "pem_escaped": lambda rng, title: _pem(rng, title).replace("\n", "\\n"),
    "pem_indented": lambda rng, title: _pem(rng, title).replace("\n", "\n    "),
    "pgp_private": _pgp_private,
    "jwt": _jwt,
    "basic_auth": _basic_auth,
    "github_token": lambda rng, _: _with_crc(rng, f"gh{rng.choice('pousr')}_"),
    "github_fine_grained": lambda rng, _: (
        f"github_pat_{_chars(rng, BASE62, 22)}_{_chars(rng, BASE62, 59)}"
    ),
    "npm_token": lambda rng, _: _with_crc(rng, "npm_"),
    "pypi_token": _pypi_token,
    "gitlab_token": _fixed("glpat-", URL_SAFE, 20),
    "aws_access_key_id": lambda rng, _: (
        rng.choice(["AKIA", "AKIA", "ASIA"]) + _chars(rng, string.ascii_uppercase + "234567", 16)
    ),
    "aws_secret_access_key": _fixed("", ALNUM + "+/", 40),
    "slack_bot": _slack_bot,
    "slack_webhook": _slack_webhook,
    "stripe_secret": lambda rng, _: "sk_live_" + _chars(rng, ALNUM, rng.choice([24, 99])),
    "stripe_restricted": _fixed("rk_live_", ALNUM, 24),
    "google_api": _fixed("AIza", URL_SAFE, 35),
    "google_oauth_secret": _fixed("GOCSPX-", URL_SAFE, 28),
    "openai": lambda rng, _: f"sk-{_chars(rng, ALNUM, 20)}T3BlbkFJ{_chars(rng, ALNUM, 20)}",
    "openai_project": lambda rng, _: (
        f"sk-proj-{_chars(rng, URL_SAFE, 74)}T3BlbkFJ{_chars(rng, URL_SAFE, 74)}"
    ),
    "anthropic": _fixed("sk-ant-api03-", URL_SAFE, 93, "AA"),
    "huggingface": _fixed("hf_", string.ascii_letters, 34),
    "sendgrid": lambda rng, _: f"SG.{_chars(rng, URL_SAFE, 22)}.{_chars(rng, URL_SAFE, 43)}",
    "mailchimp": lambda rng, _: f"{_chars(rng, HEX, 32)}-us{rng.randrange(1, 22)}",
    "mailgun": _fixed("key-", HEX, 32),
    "telegram": _telegram,
    "discord": _discord,
    "azure_storage": lambda rng, _: _b64(rng.randbytes(64)),
    "azure_client_secret": lambda rng, _: (
        f"{_chars(rng, ALNUM, 3)}8Q~{_chars(rng, ALNUM + '-_.~', 34)}"
    ),
    "digitalocean": _fixed("dop_v1_", HEX, 64),
    "shopify": _fixed("shpat_", HEX, 32),
    "docker_pat": _fixed("dckr_pat_", URL_SAFE, 27),
    "databricks": _fixed("dapi", HEX, 32),
    "newrelic": _fixed("NRAK-", UPPER_ALNUM, 27),
    "grafana": lambda rng, _: f"glsa_{_chars(rng, ALNUM, 32)}_{_chars(rng, HEX, 8)}",
    "linear": _fixed("lin_api_", ALNUM, 40),
    "notion": _fixed("secret_", ALNUM, 43),
    "postman": lambda rng, _: f"PMAK-{_chars(rng, HEX, 24)}-{_chars(rng, HEX, 34)}",
    "vault": _fixed("hvs.", URL_SAFE, 90),
    "age": _fixed("AGE-SECRET-KEY-1", BECH32.upper(), 58),
    "django_secret": _fixed("", LOWER_ALNUM + "!@#$%^&*(-_=+)", 50),
    "artifactory": _fixed("AKCp", ALNUM, 69),
    "mapbox_secret": lambda rng, _: (
        "sk.eyJ1Ijoi" + _chars(rng, ALNUM, 60) + "." + _chars(rng, URL_SAFE, 22)
    ),
    "terraform": lambda rng, _: f"{_chars(rng, ALNUM, 14)}.atlasv1.{_chars(rng, URL_SAFE, 67)}",
    "atlassian": lambda rng, _: (
        "ATATT3xFfGF0" + _chars(rng, URL_SAFE, 172) + "=" + _chars(rng, HEX.upper(), 8)
    ),
}
