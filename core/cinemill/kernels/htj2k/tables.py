"""Tables of the HT cleanup coder (ITU-T T.814 7.3 and Annex C), and what the coders look up, made of them."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MEL_EXPONENTS = (0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5)
"""Table 2: how many zeros, as a power of 2, a run has in each state."""

_FIRST_ROW = (
    "01000064011113f702000003021227f703000115031225f7031311f70400002304144136050000e505144236051510f7"
    "06000036061006f7070002f7071224f7071200d608000043081883d6090001d6091002d60a0000150a1883560a1a2777"
    "0b0003770b1115770b1100960c0001e50c1cc1770c1c41560c1c82560d0006770d1112770d1544770d1d80770e0007b7"
    "0e1224b70e1a80560e1e43b70f0005b70f1991b70f1ba6b70f1fc2b70f1f83960f1e67370f1e21960f1f50b70f1f4296"
    "0f1f133710000002110000e4111111f712000064121223b6130001b6131003d6140000a4141442b6150000b615144336"
    "151517f71600013616100236170003f7171225f71712003618000024181881d6190002d6191000d61a0003561a188156"
    "1a1a26f71b0002f71b1114f71b1101161c0000151c1882561c1c40561d0000f71d1111771d1543961d1d87771e000377"
    "1e1225771e1a81961e1e46771f0000771f1b82961f1882771f1a20961f1e43161f1f147720000002210000e4211111b6"
    "22000064221223f7230002b623111336231327f7240000a4241440b625000015251552f7251511362515423626000036"
    "261005f7270001f7271226f7271311162717437728000024281884f7290003d6291001d62a0002d62a1000d62b0000f7"
    "2b1227772b1203562c0001562c1442562c1c85772d0001772d1880562d1c43962d1d16772e0002772e1227b72e120196"
    "2f0004772f1f12962f1110962f1320772f1743162f1f83b73000000331000044311113d6320000c5321224f7330001d6"
    "33111056331327f734000165341442d635000065351551a5351510d635154356360003f7361445f7361621f7370006f7"
    "371662f7371641563717377737171256371720f7380000a5381880773900039639111377391985773a0001963a188296"
    "3a1a21773b0006773b1b12773b1114773b1320963b1b87b73c0003163c1441163c1c83b73d0005b73d1991b73d1d52b7"
    "3d1d12163d1dc6b73d1d40163d1d84b73e0000b73e1e47373e1441373e1c83e63e1e23373f0005373f1aa0e63f1b9637"
    "3f1fc0373f1f81253f1e62373f1f51e63f1f40253f1f34373f1f11c53f1f22e640000002410000e4411113f742000064"
    "421221b6430002b6431223d6431317f7440000a4441445f7450000b6451003364600013646100236470001f7471446f7"
    "4714003648000024481881d649000116491007774a0000154a1aa2f74a1a22d64a1a80d64b0004f74b1b20f74b100356"
    "4c0001564c1882564c1c43774d0005774d1110774d1100564e0001774e1443964e1c81964e1e26774f0002774f199477"
    "4f1912964f1767b74f1720964f1b83164f1f43b750000003510001a5511117f7520000a5521221d6530002d6531335f7"
    "53132396531313f754000125541441f7550000d655144356551516f75600015656122256561642f7570004f757166577"
    "57164056571730f7571727775717137758000025581881965900026659188177591916775a0001c55a1aa2965a1a2096"
    "5a1a83165b0002775b1990775b1981165b1b34775b1b22165b1b17b75c0000165c1883e65c1c43b75d0005b75d1996b7"
    "5d1981e65d1d51b75d1d42e65d1d12b75e0004b75e1660b75e1ea3375e1e20e65e1ec7375e1e83665e1e45375f000137"
    "5f1774375f1761665f1756375f1fc2375f1f40c55f1d90375f1fa3d75f1f81455f1f37d75f1f20455f1f106660000003"
    "6100004461111036620000c5621220d6630001a5631333d6631311d6631322d6640000a5641443f76500035665111156"
    "651547f766000256661225f7661641f7670006f7671664f767164056671732f7671713666717277768000125681880f7"
    "6900039669111377691985776a0001966a1222966a1a81776b0006776b1994776b1910966b1ba2776b1b23166b1b87b7"
    "6c0001166c1cc0776c1c82166c1c43b76d0005b76d1553376d1540166d1c81b76d1d16b76e0002b76e1e24b76e1220b7"
    "6e1ec7376e1e83e66e1e45376f0001376f1661e66f1ea2e66f1f30e66f1f20256f1b96376f1fc1666f1f80666f1f5237"
    "6f1f11c56f1f42667000012571000056711117f772000396721223f7730005f7731331f7731326f7731312f7740004f7"
    "741440f7750005777511119675154777760003777610029677000177771666777717327777172477771751b777171096"
    "77174077780007b7781883b7790005b7791003167a0005377a1221167a1a86b77b0002b77b1994b77b1b30b77b1b1737"
    "7b1ba3377b1b22167b1b81377c0006377c1882377c1c44377d0000377d1997d77d1d55d77d1d10167d1dc3d77d1d43e6"
    "7d1d81d77e0006d77e1662d77e1ea0d77e1e21e67e1ec4d77e1e80e67e1e47577f0001577f1ff0657f1fd3577f1f7557"
    "7f1f51a57f1fb2577f1f30a57f1f92e67f1f10047f1fe6577f1f63667f1fa0257f1f20c47f1fc1667f1f80447f1f4084"
)
"""Table C.1, the code for quads of the first row, eight hexadecimal digits an entry, as `_Code` has them."""
_OTHER_ROWS = (
    "01000003011112760200006302122176030000d5031003b6040000230414407605000155051002b606000015061007f7"
    "070001f7071001b6080000430818805509000195091001360a0000950a1880b60a1a23f70b0005f70b1003360c000115"
    "0c1882360c1c46f70d0000f70d1000360e0002f70e1444f70e1403d60f0007770f1113770f1101d61000000111000054"
    "111117f712000094121221f7130001d5131113f7131325f7140000d51414437715000036151006f7160002f7161004f7"
    "170000f7171007771800001418188177190000b6191005771a0003361a1006771b0002771b1002b71c0001361c100477"
    "1d0000771d1007b71e0003b71e1005b71f0001b71f1446b71f1402362000000121000094211117f72200001422122236"
    "230003d6231223f7231311f724000155241445f725000036251006f7260002f7261004f7270000f72710017728000055"
    "2818877729000377291005772a0001d62a1aa7b72a1a22d62a1a86772b0002772b1b24772b1000772c0000d62c1003b7"
    "2d0005b72d1001b72e0006b72e1442b72e1404b72f0000b72f1447372f1513372f1725372f1f813730000002310000a4"
    "311110b63200002432122236330000e5331337f7331323363313113634000165341443f735000036351113d6351541f7"
    "360001d6361005f7370002d6371442f7371511e6371726f738000065381884f7390000d6391003563a0001563a122256"
    "3a1a80f73b0000563b1883963b1b31773b1b21963b1b17773c0002963c1000963d0003773d1445773d1403163e000677"
    "3e1442773e1c84773e1e26b73f0001163f1660773f1737b73f1fa3b73f1f22163f1f80163f1a85b73f1f51b73f1f13e6"
    "3f1f42b740000001410000d5411117f742000155421223f7430005f7431006f7440000944414423645000336451001f7"
    "46000136461002f7470004f74710057748000014481880f749000777491003774a0001d64a1001774b0006774b1006b7"
    "4c0000554c1cc2774c1c84774c1c40774d0007b74d1003b74e0005b74e1221b74e1200364f0002b74f1114b74f1320b7"
    "4f1303d650000002510001e5511113b6520000a5521223f7530001b6531000b654000024541442b6550000e555144336"
    "551517f756000136561006f757000236571225f7571201565800016558188036590003d6591001f75a0001d65a1002d6"
    "5b0000d65b1114f75b1103565c0000655c1442565c1c82f75d0000565d1117775d1543965d1d80f75e0001965e122577"
    "5e1a80165e1e43775f0001a55f1991775f1d56775f1f30775f1f12965f1762775f1fc0965f1f43165f1fa4775f1f8116"
    "5f1f2216600000036100002461111036620000c4621223d6630001d6631220d6631317f764000044641442d6650000a5"
    "65144356651512f766000156661223f7661645f76700025667122296671311f7671746f7680001656818805669000396"
    "691001966a0000656a1aa0f76a1a20966a1a84f76b0000e66b1b27776b1223776b1a85776b1b14776c0001a56c1cc177"
    "6c1c86776c1c42776d0003166d1d40776d1447b76d1c83b76d1d12b76e0001166e1e45b76e1441b76e1ea6b76e1e8216"
    "6e1e23376f0000166f1334b76f1760b76f1fa7376f1f23e66f1b95376f1fc6376f1f81e66f1f51376f1f42e66f1f1237"
    "70000044710003367111113672000236721227f773000036731113f7731326f7740002d6741445f775000165751113d6"
    "751541f7760001d67610077777000065771742f7771444f7771730f7771710d677172577780003567818837779000156"
    "791002777a0002567a1002967b0001a57b1b11777b1116777b1320567b1b87b77c0003967c1001967d0000c57d1d1477"
    "7d1110777d1540967d1d81b77e0003167e1e23b77e1225b77e1a83e67e1e40b77f0000037f1ff6b77f1f72b77f1fb4b7"
    "7f1f31167f1762167f1fa0167f1f20a57f1b91e67f1fc0e67f1f81257f1f52e67f1f10257f1f41c5"
)
"""Table C.2, the code for quads of all other rows."""


class _Code(NamedTuple):
    """One entry of the tables of context-adaptive code words for quads (C.1)."""

    context: int
    significance: int
    """Of the four samples, the upper left one in bit 0, then the lower left one."""
    offset: int
    """Whether the quad has an exponent bound larger than its predictor, so that u follows (7.3.6)."""
    known: int
    """Samples whose exponent is told to reach the bound or not (EMB known)."""
    reaching: int
    """Those of them that reach it (EMB 1)."""
    word: int
    """The code word, its first bit lowest."""
    length: int


def _codes(table: str) -> list[_Code]:
    return [
        _Code._make(
            int(digits, 16) for digits in (*table[at : at + 5], table[at + 5 : at + 7], table[at + 7])
        )
        for at in range(0, len(table), 8)
    ]


@cache
def vlc_encoding() -> NDArray[np.uint32]:
    """Return code words for quads: 2 x 2048, those of the first row, and those of others.

    The index is context << 8 | significance << 4 | samples whose exponent is the bound, if u follows. An entry has in bits 1 to
    7 the code word, first bit lowest, its length from bit 9 on, and known EMBs in bits 0, 8, 16 and 24. Of the words that fit, the
    one that tells most saves most bits of the samples.
    """
    found = np.zeros((2, 2048), np.uint32)
    for row, table in enumerate((_FIRST_ROW, _OTHER_ROWS)):
        told = np.full(2048, -1)
        for code in _codes(table):
            for reaching in range(16):
                key = code.context << 8 | code.significance << 4 | reaching
                fits = reaching & ~code.significance == 0 and (reaching != 0) == code.offset
                if fits and reaching & code.known == code.reaching and code.known.bit_count() >= told[key]:
                    told[key] = code.known.bit_count()
                    spread = sum((code.known >> sample & 1) << 8 * sample for sample in range(4))
                    found[row, key] = code.word << 1 | code.length << 9 | spread
    return _fixed(found)


@cache
def u_encoding() -> NDArray[np.uint64]:
    """Return code words for the u of pairs of quads (7.3.6): 2 x 1024, those of the first row, and those of others.

    The index is u of the first quad | u of the second << 5. An entry has the code word, first bit lowest, and its length from
    bit 32 on: prefixes of both, then suffixes of both.
    """
    found = np.zeros((2, 1024), np.uint64)
    for row, key in np.ndindex(found.shape):
        u = key & 31, key >> 5
        second = _u_code(u[1])
        if row == 0 and min(u) > 2:
            # MEL says so.
            u = u[0] - 2, u[1] - 2
            second = _u_code(u[1])
        elif row == 0 and u[0] > 2 and u[1] > 0:
            second = u[1] - 1, 1, 0, 0
        first = _u_code(u[0])
        word = length = 0
        for part in (first[:2], second[:2], first[2:], second[2:]):
            word |= part[0] << length
            length += part[1]
        found[row, key] = word | length << 32
    return _fixed(found)


def _u_code(u: int) -> tuple[int, int, int, int]:
    """Prefix and its length, suffix and its length (Table 3); nothing for 0, which the quad's code word tells."""
    if u == 0:
        return 0, 0, 0, 0
    if u <= 2:
        return 1 << (u - 1), u, 0, 0
    return (4, 3, u - 3, 1) if u <= 4 else (0, 3, u - 5, 5)


@cache
def mel_encoding() -> NDArray[np.uint32]:
    """Return what MEL sends of a run (7.3.3), by state << 6 | zeros, of which there are up to 63.

    An entry has the ones to send in bits 0 to 7, zeros that are left in 8 to 15, the state then in 16 to 19, and its exponent
    from bit 20 on.
    """
    found = np.zeros(16 << 6, np.uint32)
    for start in range(len(MEL_EXPONENTS)):
        for zeros in range(64):
            state, left, ones = start, zeros, 0
            while left >= 1 << MEL_EXPONENTS[state]:
                left -= 1 << MEL_EXPONENTS[state]
                state = min(state + 1, 12)
                ones += 1
            found[start << 6 | zeros] = ones | left << 8 | state << 16 | MEL_EXPONENTS[state] << 20
    return _fixed(found)


@cache
def vlc_decoding() -> NDArray[np.uint32]:
    """Return what code words for quads mean: 2 x 2048, those of the first row, and those of others.

    The index is context << 7 | next 7 bits, first one lowest, and zeros from 1024 on. But in other rows than the first, bits of the
    context are reordered: significance above to the left, above to the right, to the left. An entry has in bits 0 to 5 the
    length, in 6 whether u follows, in 7 to 9 what it makes of the next quad's context (in the place of the index), in 16 to 19
    the significance, in 20 to 23 EMBs and in 24 to 27 which of them are known.
    """
    found = np.zeros((2, 2048), np.uint32)
    for row, table in enumerate((_FIRST_ROW, _OTHER_ROWS)):
        for code in _codes(table):
            place, rho = code.context, code.significance
            after = (rho >> 1) | (rho & 1)
            if row == 1:
                place, after = (place & 1) | place >> 1 & 2 | place << 1 & 4, 4 * (rho & 12 != 0)
            entry = (
                code.length
                | code.offset << 6
                | after << 7
                | rho << 16
                | code.reaching << 20
                | code.known << 24
            )
            for rest in range(1 << (7 - code.length)):
                found[row, place << 7 | rest << code.length | code.word] = entry
    return _fixed(found)


_PREFIXES = {
    0: (3, 5, 5),
    4: (3, 3, 1),
    2: (2, 2, 0),
    6: (2, 2, 0),
    1: (1, 1, 0),
    3: (1, 1, 0),
    5: (1, 1, 0),
    7: (1, 1, 0),
}
"""Table 3 by three bits: length of the prefix, what it means, length of the suffix."""


@cache
def u_decoding() -> NDArray[np.uint64]:
    """Return what code words for the u of pairs of quads mean: 2 x 512, those of the first row, and those of others.

    The index is the next 6 bits | whether u of the first quad follows << 6 | u of the second << 7 | MEL event of the pair << 8. An
    entry has in bits 0 to 5 the length of all, in 8 to 13 that of the prefixes, in 16 to 31 where the bits of the suffixes
    go, a byte each, and in 32 to 47 what they are added to.
    """
    found = np.zeros((2, 512), np.uint64)
    for row, key in np.ndindex(found.shape):
        bits, follows, event = key & 63, (key >> 6 & 1, key >> 7 & 1), key >> 8
        both = row == 0 and all(follows)
        u, suffixes, prefix = [0, 0], [0, 0], 0
        for quad in (0, 1):
            if not follows[quad]:
                continue
            if both and quad == 1 and not event and u[0] > 2:
                u[1], length = 1 + (bits & 1), 1
            else:
                length, u[quad], suffixes[quad] = _PREFIXES[bits & 7]
            bits >>= length
            prefix += length
        if both and event:
            u = [u[0] + 2, u[1] + 2]
        masks = [(1 << size) - 1 for size in suffixes]
        found[row, key] = (
            prefix + sum(suffixes) | prefix << 8 | masks[0] << 16 | masks[1] << 24 | u[0] << 32 | u[1] << 40
        )
    return _fixed(found)


@cache
def mel_decoding() -> NDArray[np.uint32]:
    """Return what MEL's next bits mean (7.3.3), by state << 6 | 6 bits, first one highest.

    An entry has in bits 0 to 5 how many are read, in 8 to 15 how many events they are, in 16 whether the last of them is a one,
    and in 20 to 23 the next state.
    """
    found = np.zeros(16 << 6, np.uint32)
    for state, exponent in enumerate(MEL_EXPONENTS):
        for bits in range(64):
            if bits & 32:
                size, events, last, after = 1, 1 << exponent, 0, min(state + 1, 12)
            else:
                size, events, last, after = 1 + exponent, 1 + (bits >> (5 - exponent)), 1, max(state - 1, 0)
            found[state << 6 | bits] = size | events << 8 | last << 16 | after << 20
    return _fixed(found)


def _fixed(table: NDArray[Any]) -> NDArray[Any]:
    """Make a table read-only, as kernels expect it."""
    table.flags.writeable = False
    return table
