"""Which SPDX licences are permissive and which are copyleft.

`PERMISSIVE` follows the Blue Oak Council's list from bronze upwards, and of ScanCode's categories
"Permissive" and "Public Domain" what is used for code. Licences that add a rule of conduct (JSON),
forbid a use, or are for fonts and hardware alone are left out.
"""

PERMISSIVE: frozenset[str] = frozenset("""
0BSD ADSL AFL-1.1 AFL-1.2 AFL-2.0 AFL-2.1 AFL-3.0 AMDPLPA AML AML-glslang AMPAS ANTLR-PD
ANTLR-PD-fallback APAFML Adobe-2006 Afmparse Apache-1.0 Apache-1.1 Apache-2.0 Artistic-2.0
BSD-1-Clause BSD-2-Clause BSD-2-Clause-Darwin BSD-2-Clause-Patent BSD-2-Clause-Views
BSD-2-Clause-first-lines BSD-3-Clause BSD-3-Clause-Attribution BSD-3-Clause-Clear BSD-3-Clause-HP
BSD-3-Clause-LBNL BSD-3-Clause-Modification BSD-3-Clause-No-Nuclear-License-2014
BSD-3-Clause-No-Nuclear-Warranty BSD-3-Clause-Open-MPI BSD-3-Clause-Sun BSD-3-Clause-acpica
BSD-3-Clause-flex BSD-4-Clause BSD-4-Clause-Shortened BSD-4-Clause-UC BSD-4.3RENO BSD-4.3TAHOE
BSD-Advertising-Acknowledgement BSD-Attribution-HPND-disclaimer BSD-Inferno-Nettverk
BSD-Source-Code BSD-Source-beginning-file BSD-Systemics BSL-1.0 Bahyph Barr Beerware
Bitstream-Vera BlueOak-1.0.0 Boehm-GC Borceux Brian-Gladman-2-Clause Brian-Gladman-3-Clause
CC-BY-3.0 CC-BY-4.0 CC-PDDC CC0-1.0 CDLA-Permissive-1.0 CDLA-Permissive-2.0 CECILL-B
CERN-OHL-P-2.0 CMU-Mach CMU-Mach-nodoc CNRI-Jython CNRI-Python CNRI-Python-GPL-Compatible
Clips CrystalStacker Cube DOC DSDP Dotseqn ECL-1.0 ECL-2.0 EFL-1.0 EFL-2.0 EPICS Entessa
FSFAP FSFAP-no-warranty-disclaimer FSFUL FSFULLR FSFULLRWD FTL Fair Furuseth GD
GLWTPL Graphics-Gems HPND HPND-DEC HPND-Kevlin-Henney HPND-Markus-Kuhn HPND-Pbmplus HPND-UC
HPND-doc HPND-doc-sell HPND-export-US HPND-export-US-modify HPND-sell-MIT-disclaimer-xserver
HPND-sell-regexpr HPND-sell-variant HPND-sell-variant-MIT-disclaimer HTMLTIDY HaskellReport
IBM-pibs ICU IJG ISC ISC-Veillard ImageMagick Info-ZIP Inner-Net-2.0 Intel Jam JasPer-2.0
Kazlib LOOP Leptonica Libpng Linux-OpenIB MIT MIT-0 MIT-CMU MIT-Click MIT-Festival
MIT-Khronos-old MIT-Modern-Variant MIT-Wu MIT-advertising MIT-enna MIT-feh MIT-open-group
MIT-testregex MITNFA MMIXware MS-PL MTLL Mackerras-3-Clause Martin-Birgmeier Minpack MirOS
MulanPSL-1.0 MulanPSL-2.0 Multics Mup NAIST-2003 NCSA NICTA-1.0 NIST-PD NIST-PD-fallback
NIST-Software NLPL NRL NTP NTP-0 Naumen NetCDF Newsletr OAR OFFIS OGC-1.0 OLDAP-2.0 OLDAP-2.0.1
OLDAP-2.1 OLDAP-2.2 OLDAP-2.2.1 OLDAP-2.2.2 OLDAP-2.3 OLDAP-2.4 OLDAP-2.5 OLDAP-2.6 OLDAP-2.7
OLDAP-2.8 OML ODC-By-1.0 OpenSSL OpenSSL-standalone PDDL-1.0 PHP-3.0 PHP-3.01 PSF-2.0 Plexus
PostgreSQL Python-2.0 Python-2.0.1 Qhull RSA-MD Ruby SAX-PD SAX-PD-2.0 SGI-B-2.0 SGP4 SMLNJ
SSH-OpenSSH SSH-short SSLeay-standalone SWL Saxpath SchemeReport Spencer-86 Spencer-94 Spencer-99
Sun-PPP SunPro Symlinks TCL TCP-wrappers TTWL TU-Berlin-1.0 TU-Berlin-2.0 UCAR UPL-1.0
Unicode-3.0 Unicode-DFS-2015 Unicode-DFS-2016 UnixCrypt Unlicense VSL-1.0 Vim W3C W3C-19980720
W3C-20150513 WTFPL Widget-Workshop X11 X11-distribute-modifications-variant XFree86-1.1 Xdebug-1.03
Xerox Xnet ZPL-1.1 ZPL-2.0 ZPL-2.1 Zed Zend-2.0 Zlib blessing bzip2-1.0.6 check-cvs curl
diffmark dtoa eGenix etalab-2.0 fwlw gnuplot hdparm libpng-1.6.35 libpng-2.0 libselinux-1.0 libtiff
libutil-David-Nugent lsof mpi-permissive mpich2 mplus pkgconf psutils python-ldap snprintf
softSurfer ssh-keyscan swrule ulem xlock xpp zlib-acknowledgement
LicenseRef-public-domain
""".split())  # fmt: skip

_COPYLEFT_PREFIXES = (
    "AGPL-", "APL-1.0", "APSL-", "BitTorrent-", "CAL-", "CATOSL", "CC-BY-NC-SA", "CC-BY-SA",
    "CC-SA", "CDDL", "CDLA-Sharing", "CECILL-1", "CECILL-2", "CECILL-C", "CERN-OHL-1",
    "CERN-OHL-S", "CERN-OHL-W", "CPAL", "CPL-", "CUA-OPL", "D-FSL", "EPL-", "ErlPL", "EUPL",
    "GFDL", "GPL-", "IPL-", "LGPL", "LPL-", "LiLiQ-R", "MPL-", "MS-RL", "Motosoto", "NGPL", "NPL-",
    "NPOSL", "OCLC", "ODbL", "OSL-", "Parity", "QPL", "RPL", "RPSL", "RHeCos", "SGI-B-1", "SISSL",
    "SMAIL-GPL", "SPL-", "SSPL", "SimPL", "Sleepycat", "SugarCRM", "TAPR-OHL", "TGPPL", "YPL",
    "copyleft-next", "gSOAP", "ESA-PL-strong", "ESA-PL-weak", "Linux-man-pages-copyleft",
)  # fmt: skip


def is_copyleft(spdx_id: str) -> bool:
    """Whether a work under the licence, or files of it, must stay under it."""
    return spdx_id.startswith(_COPYLEFT_PREFIXES)
