"""Packet captures of MoldUDP64: where the blocks of the packets lie, in order and once each.

Knows pcap and pcapng, Ethernet with VLAN tags, IPv4, UDP and MoldUDP64; knows the messages only by
the length their first byte stands for. A packet that is none of these is counted, not read.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numba import njit

MAGICS = (
    b"\xa1\xb2\xc3\xd4",
    b"\xd4\xc3\xb2\xa1",
    b"\xa1\xb2\x3c\x4d",
    b"\x4d\x3c\xb2\xa1",
    b"\x0a\x0d\x0d\x0a",
)
"""How a capture begins: pcap with microseconds or nanoseconds, of either byte order, or pcapng."""

# A capture may carry several sequences of packets at once, such as both lines of a feed.
_SESSIONS = 256

# How many messages a MoldUDP64 packet can announce.
MOST_IN_PACKET = 65_535


class Fault(IntEnum):
    """Why bytes are no capture."""

    NONE = 0
    TYPE = 1
    LENGTH = 2
    BLOCK = 3
    HEADER = 4
    LINK = 5
    PARTLY = 6


FAULTS = {
    Fault.TYPE: "no message of ITCH 5.0 has this type",
    Fault.LENGTH: "a message has not the length of its type",
    Fault.BLOCK: "a message runs past the end of its packet",
    Fault.HEADER: "the header of a packet contradicts itself",
    Fault.LINK: "the capture is of no known link (Ethernet, Linux cooked, raw IP)",
    Fault.PARTLY: "a packet was captured in part only",
}


class Tally(IntEnum):
    """Places in `Capture.tally`."""

    FORMAT = 0
    """0: nothing read yet, 1: pcap, 2: pcapng."""
    BIG = 1
    """1: the capture is big-endian."""
    SCALE = 2
    """Nanoseconds in a unit of its times; negative: units in a nanosecond."""
    LINK = 3
    FIRST_NS = 4
    """When the first message was captured, since 1970; 0: not yet."""
    FOREIGN = 5
    """Packets that are not MoldUDP64 over UDP and IPv4."""
    AGAIN = 6
    """Messages that came a second time."""
    LOST = 7
    """Messages that their numbers say are missing."""
    SESSIONS = 8


class Capture(NamedTuple):
    """What is known of a capture so far."""

    tally: np.ndarray  # int64 [len(Tally)]
    sessions: np.ndarray  # int64 [_SESSIONS, 3]: the name in two words, the next number


def new_capture() -> Capture:
    return Capture(np.zeros(len(Tally), np.int64), np.zeros((_SESSIONS, 3), np.int64))


_jit = njit(cache=True, nogil=True, error_model="numpy")

_FORMAT, _BIG, _SCALE, _LINK, _FIRST_NS, _FOREIGN, _AGAIN, _LOST, _N_SESSIONS = range(9)
_TYPE, _WRONG_LENGTH, _BLOCK, _HEADER, _NO_LINK, _PARTLY = range(1, 7)
_ETHERNET, _RAW, _COOKED = 1, 101, 113
_MOLD_BYTES = 20
_MOST_BYTES = 1 << 18


@_jit
def _big(data, at, n):
    value = np.int64(0)
    for k in range(n):
        value = (value << 8) | np.int64(data[at + k])
    return value


@_jit
def _word(data, at, n, big):
    if big:
        return _big(data, at, n)
    value = np.int64(0)
    for k in range(n):
        value |= np.int64(data[at + k]) << (8 * k)
    return value


@_jit
def _payload(data, at, stop, link):
    """Where the UDP payload of a packet starts and stops; -1 where there is none, -2 where the
    packet is not whole."""
    kind = 0x0800
    if link == _ETHERNET:
        if at + 14 > stop:
            return -1, -1
        kind = _big(data, at + 12, 2)
        at += 14
        while kind in (0x8100, 0x88A8, 0x9100):
            if at + 4 > stop:
                return -1, -1
            kind = _big(data, at + 2, 2)
            at += 4
    elif link == _COOKED:
        if at + 16 > stop:
            return -1, -1
        kind = _big(data, at + 14, 2)
        at += 16
    if kind != 0x0800 or at + 20 > stop or data[at] >> 4 != 4 or data[at + 9] != 17:
        return -1, -1
    if _big(data, at + 6, 2) & 0x3FFF:
        return -1, -1
    at += 4 * np.int64(data[at] & 15)
    if at + 8 > stop:
        return -2, -2
    end = at + _big(data, at + 4, 2)
    if end > stop or end < at + 8:
        return -2, -2
    return at + 8, end


@_jit
def _expected(capture, data, at):
    """The row of a MoldUDP64 session, -1 where there are too many."""
    first, second = _big(data, at, 8), _big(data, at + 8, 2)
    n = capture.tally[_N_SESSIONS]
    for row in range(n):
        if capture.sessions[row, 0] == first and capture.sessions[row, 1] == second:
            return row
    if n == capture.sessions.shape[0]:
        return -1
    capture.sessions[n, 0], capture.sessions[n, 1], capture.sessions[n, 2] = first, second, 0
    capture.tally[_N_SESSIONS] += 1
    return n


@_jit
def _blocks(data, at, stop, capture, lengths, starts, n):
    """Note where the messages of a MoldUDP64 packet start; how many there are now, where the
    trouble is, a Fault."""
    number, count = _big(data, at + 10, 8), _big(data, at + 18, 2)
    if count in (0, 0xFFFF):  # a heartbeat, and the end of the session
        return n, at, 0
    next_number = number
    # Numbers start at 1; a 0 is a capture that was made anonymous.
    row = _expected(capture, data, at) if number > 0 else -1
    if row >= 0:
        if capture.sessions[row, 2] > 0:
            next_number = capture.sessions[row, 2]
            capture.tally[_LOST] += max(0, number - next_number)
        capture.sessions[row, 2] = max(next_number, number + count)
    at += _MOLD_BYTES
    for k in range(count):
        if at + 3 > stop:
            return n, at, _BLOCK
        length, expected = _big(data, at, 2), lengths[data[at + 2]]
        if expected == 0:
            return n, at, _TYPE
        if length != expected:
            return n, at, _WRONG_LENGTH
        if at + 2 + length > stop:
            return n, at, _BLOCK
        if number + k < next_number:
            capture.tally[_AGAIN] += 1
        else:
            starts[n] = at + 2
            n += 1
        at += 2 + length
    return n, at, 0 if at == stop else _BLOCK


@_jit
def _scale_of(data, at, stop, big):
    """The time unit of a pcapng interface, from its options: microseconds if they say nothing."""
    while at + 4 <= stop:
        code, length = _word(data, at, 2, big), _word(data, at + 2, 2, big)
        if code == 0:
            break
        if code == 9 and length == 1 and at + 5 <= stop and data[at + 4] <= 18:
            power = np.int64(data[at + 4])
            return np.int64(10 ** (9 - power)) if power <= 9 else -np.int64(10 ** (power - 9))
        at += 4 + (length + 3) // 4 * 4
    return np.int64(1000)


@_jit
def frame_packets(data, capture, lengths, starts):
    """Where the messages of a capture start; how many, the bytes that are done with, a Fault.

    A packet that `data` ends inside, or that finds no room in `starts`, is left for the next time.
    `lengths` are the bytes of a message by its first byte.
    """
    tally = capture.tally
    at, n = 0, 0
    if tally[_FORMAT] == 0:
        if data.size < 24:
            return 0, 0, 0
        first = _big(data, 0, 4)
        if first == 0x0A0D0D0A:
            tally[_FORMAT] = 2
        else:
            tally[_FORMAT] = 1
            tally[_BIG] = 1 if first in (0xA1B2C3D4, 0xA1B23C4D) else 0
            tally[_SCALE] = 1 if _word(data, 0, 4, tally[_BIG] == 1) == 0xA1B23C4D else 1000
            # The upper bits tell of a frame check sequence behind each packet.
            tally[_LINK] = _word(data, 20, 4, tally[_BIG] == 1) & 0xFFFF
            if tally[_LINK] not in (_ETHERNET, _RAW, _COOKED):
                return 0, 20, _NO_LINK
            at = 24
    while at + 16 <= data.size and n + MOST_IN_PACKET <= starts.size:
        big = tally[_BIG] == 1
        if tally[_FORMAT] == 1:
            caught, whole = _word(data, at + 8, 4, big), _word(data, at + 12, 4, big)
            packet, end = at + 16, at + 16 + caught
            time_ns = _word(data, at, 4, big) * 10**9 + _word(data, at + 4, 4, big) * tally[_SCALE]
            if caught > _MOST_BYTES:
                return n, at, _HEADER
        else:
            kind = _word(data, at, 4, big)
            if kind == 0x0A0D0D0A:
                tally[_BIG] = 1 if _big(data, at + 8, 4) == 0x1A2B3C4D else 0
                big = tally[_BIG] == 1
                if _word(data, at + 8, 4, big) != 0x1A2B3C4D:
                    return n, at, _HEADER
            length = _word(data, at + 4, 4, big)
            if length < 12 or length % 4 or length > _MOST_BYTES:
                return n, at, _HEADER
            end = at + length
            if end > data.size:
                break
            if kind == 1 and length >= 20:
                tally[_LINK] = _word(data, at + 8, 2, big)
                tally[_SCALE] = _scale_of(data, at + 16, end - 4, big)
                if tally[_LINK] not in (_ETHERNET, _RAW, _COOKED):
                    return n, at, _NO_LINK
            if kind != 6:
                at = end
                continue
            if length < 32:
                return n, at, _HEADER
            caught, whole = _word(data, at + 20, 4, big), _word(data, at + 24, 4, big)
            packet = at + 28
            if packet + caught > end - 4 or tally[_SCALE] == 0:
                return n, at, _HEADER
            time_ns = (_word(data, at + 12, 4, big) << 32) | _word(data, at + 16, 4, big)
            scale = tally[_SCALE]
            time_ns = time_ns * scale if scale > 0 else time_ns // -scale
        if end > data.size:
            break
        start, stop = _payload(data, packet, packet + caught, tally[_LINK])
        if start == -2:
            return n, at, _PARTLY if caught < whole else _HEADER
        if start < 0 or stop - start < _MOLD_BYTES:
            tally[_FOREIGN] += 1
        else:
            if tally[_FIRST_NS] == 0:
                tally[_FIRST_NS] = time_ns
            n, trouble, fault = _blocks(data, start, stop, capture, lengths, starts, n)
            if fault:
                return n, trouble, fault
        at = end
    return n, at, 0
